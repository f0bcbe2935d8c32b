"""Pairs read at speed: whatever the model, grouped by length under a token budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch

from acclimate.records import Doc, Query
from acclimate.retrieve.encoder import batches


class Reader(Protocol):
    """A model that reads a query and a document together."""

    def tokens(self, texts: Sequence[tuple[str, str]], /) -> Mapping[str, Sequence[Sequence[int]]]:
        """(query, document) texts as a row of tokens each; `input_ids` at least."""
        ...

    def logits(self, rows: Mapping[str, Sequence[Sequence[int]]], /) -> torch.Tensor:
        """(n,) one score per row, in float32; higher is more relevant."""
        ...


@torch.inference_mode()
def rate(
    reader: Reader,
    texts: Sequence[tuple[str, str]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[float]:
    """One score per (query, document), in order."""
    if not texts:
        return []
    tokens = reader.tokens(texts)
    scores = [0.0] * len(texts)
    done = 0
    for rows in batches([len(ids) for ids in tokens["input_ids"]]):
        logits = reader.logits({name: [values[row] for row in rows] for name, values in tokens.items()}).tolist()
        for row, logit in zip(rows, logits, strict=True):
            scores[row] = logit
        done += len(rows)
        progress(done, len(texts))
    return scores


def texts_of(pairs: Sequence[tuple[Query, str]], corpus: Mapping[str, Doc]) -> list[tuple[str, str]]:
    """(query, doc_id) pairs as the texts that a model reads."""
    return [(query.text, corpus[doc_id].default_text()) for query, doc_id in pairs]
