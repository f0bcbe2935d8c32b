"""Pairs read at speed: whatever the model, grouped by length under a token budget."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch

from acclimate.base import models
from acclimate.base.digests import folder_fingerprint
from acclimate.base.memory import TOKENS_AT_ONCE, Halving, batches
from acclimate.records import Doc, Query

_TOKENS_AT_ONCE_ON_CPU = 512  # a core is busy with these, and one query's documents differ in length: less is padded


class Reader(Protocol):
    """A model that reads a query and a document together."""

    def tokens(self, texts: Sequence[tuple[str, str]], /) -> Mapping[str, Sequence[Sequence[int]]]:
        """(query, document) texts as a row of tokens each; `input_ids` at least."""
        ...

    def logits(self, rows: Mapping[str, Sequence[Sequence[int]]], /) -> torch.Tensor:
        """(n,) one score per row, in float32; higher is more relevant."""
        ...


class PairScorer(ABC):
    """A scorer that reads documents of a corpus with a reader."""

    corpus: Mapping[str, Doc]

    @abstractmethod
    def reader(self) -> Reader:
        """The reader, loaded when it is first asked for."""

    def score(
        self,
        pairs: Sequence[tuple[Query, str]],
        *,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[float]:
        """What the reader says of each (query, doc_id), in order."""
        texts = [(query.text, self.corpus[doc_id].default_text()) for query, doc_id in pairs]
        return rate(self.reader(), texts, progress)


def weights_of(name: str) -> str:
    """A fingerprint of a model's weights, and in a folder of all that is beside them."""
    folder = Path(name)
    return folder_fingerprint(folder) if folder.is_dir() else models.weights_fingerprint(name)


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
    lengths = [len(ids) for ids in tokens["input_ids"]]
    scores = [0.0] * len(texts)
    done, halving = 0, Halving()

    def logits(rows: Sequence[int]) -> list[float]:
        return reader.logits({name: [values[row] for row in rows] for name, values in tokens.items()}).tolist()

    most = _TOKENS_AT_ONCE_ON_CPU if models.device() == "cpu" else TOKENS_AT_ONCE
    for rows in batches(lengths, max_tokens=most):
        longest = lengths[rows[0]]
        batch = halving(
            logits,
            rows,
            lengths=[lengths[row] for row in rows],
            what=f"a query and a document of {longest} tokens",
        )
        for row, logit in zip(rows, batch, strict=True):
            scores[row] = logit
        done += len(rows)
        progress(done, len(texts))
    return scores
