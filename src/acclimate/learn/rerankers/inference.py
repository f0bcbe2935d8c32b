"""Score pairs with a reranker in training, using the fast readers for inference.

The library's forward pass, which training needs, is several times slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from sentence_transformers import CrossEncoder

from acclimate.search.scorers import cross_encoder
from acclimate.search.scorers.bert_pairs import Rows
from acclimate.search.scorers.pairs import Lengths, Reader, rate
from acclimate.search.scorers.prompted import Prompted

Features = Mapping[str, torch.Tensor]
_TOKENS = ("input_ids", "token_type_ids")


def reader_of(model: CrossEncoder, max_tokens: int) -> Reader:
    """A reader with the model's current weights."""
    module = model[0]
    return module if isinstance(module, Prompted) else cross_encoder.reader_of(model, Lengths(max_tokens))


@contextmanager
def fast_scoring(
    model: CrossEncoder, max_tokens: int, pairs: Sequence[tuple[str, str]]
) -> Iterator[list[float] | None]:
    """Context in which the model's scores come from the fast reader, if it has one; weights must not change.

    pairs: all pairs that will be scored, which are scored at once. Yields the scores; None if the model scores itself.
    """
    if isinstance(vars(model).get("forward"), _Scores) or not cross_encoder.is_bert(model):
        yield None
        return
    reader = reader_of(model, max_tokens)
    rated = rate(reader, pairs)
    known = dict(zip(_keys(reader.tokens(pairs)), rated, strict=True)) if pairs else {}

    def scores(features: Features) -> torch.Tensor:
        rows = _unpadded(features)
        keys = list(_keys(rows))
        of_rows = torch.tensor([known[key] for key in keys]) if known.keys() >= {*keys} else reader.logits(rows)
        return of_rows[:, None]

    with _scoring(model, scores):
        yield rated


@contextmanager
def equal_scores(model: CrossEncoder) -> Iterator[None]:
    """Context in which all scores are equal, for the loss of chance."""
    with _scoring(model, lambda features: torch.zeros(len(features["input_ids"]), 1)):
        yield


class _Scores:
    """Replaces a model's `forward`, which the trainer may have wrapped already."""

    def __init__(self, scores: Callable[[Features], torch.Tensor], device: torch.device) -> None:
        self._scores, self._device = scores, device

    def __call__(self, features: Features, **_: Any) -> dict[str, torch.Tensor]:
        return {"scores": self._scores(features).to(self._device)}


@contextmanager
def _scoring(model: CrossEncoder, scores: Callable[[Features], torch.Tensor]) -> Iterator[None]:
    instance = vars(model)
    wrapped = instance.get("forward")
    instance["forward"] = _Scores(scores, model.device)
    try:
        yield
    finally:
        del instance["forward"]
        if wrapped is not None:
            instance["forward"] = wrapped


def _keys(rows: Rows) -> Iterator[tuple[tuple[int, ...], ...]]:
    """A hashable key for each row."""
    return zip(*(map(tuple, rows[name]) for name in sorted(rows) if name in _TOKENS), strict=True)


def _unpadded(features: Features) -> dict[str, list[list[int]]]:
    """The tokens of each row, by input name."""
    attended = features["attention_mask"].bool().cpu()
    return {
        name: [values[attend].tolist() for values, attend in zip(features[name].cpu(), attended, strict=True)]
        for name in _TOKENS
        if name in features
    }
