"""How a reranker that learns reads pairs that it does not learn from: as one at work reads them, where that is known.

The library's own pass, which training needs, takes several times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from sentence_transformers import CrossEncoder

from acclimate.search.scorers import cross_encoder
from acclimate.search.scorers.bert_pairs import Rows
from acclimate.search.scorers.pairs import Reader, rate
from acclimate.search.scorers.prompted import Prompted

Features = Mapping[str, torch.Tensor]
_TOKENS = ("input_ids", "token_type_ids")


def reader_of(model: CrossEncoder, max_tokens: int) -> Reader:
    """What reads pairs with the weights that the model has now."""
    module = model[0]
    return module if isinstance(module, Prompted) else cross_encoder.reader_of(model, max_tokens=max_tokens)


@contextmanager
def as_at_work(model: CrossEncoder, max_tokens: int, pairs: Sequence[tuple[str, str]]) -> Iterator[list[float] | None]:
    """Within, the model's scores are its reader's, where that is faster; its weights must stay as they are.

    pairs: what it will be asked about, which is read at once. Yields their scores; None where the model scores itself.
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
def all_equal(model: CrossEncoder) -> Iterator[None]:
    """Within, the model gives every pair the same score: what a loss is then is chance."""
    with _scoring(model, lambda features: torch.zeros(len(features["input_ids"]), 1)):
        yield


class _Scores:
    """In the place of a model's `forward`, which the trainer may have put another in already."""

    def __init__(self, scores: Callable[[Features], torch.Tensor], device: torch.device) -> None:
        self._scores, self._device = scores, device

    def __call__(self, features: Features, **_: Any) -> dict[str, torch.Tensor]:
        return {"scores": self._scores(features).to(self._device)}


@contextmanager
def _scoring(model: CrossEncoder, scores: Callable[[Features], torch.Tensor]) -> Iterator[None]:
    instance = vars(model)
    before = {name: instance[name] for name in ("forward",) if name in instance}
    instance["forward"] = _Scores(scores, model.device)
    try:
        yield
    finally:
        del instance["forward"]
        instance.update(before)


def _keys(rows: Rows) -> Iterator[tuple[tuple[int, ...], ...]]:
    """What tells each row from the others."""
    return zip(*(map(tuple, rows[name]) for name in sorted(rows) if name in _TOKENS), strict=True)


def _unpadded(features: Features) -> dict[str, list[list[int]]]:
    """The tokens of each row, by what is said of them."""
    attended = features["attention_mask"].bool().cpu()
    return {
        name: [values[attend].tolist() for values, attend in zip(features[name].cpu(), attended, strict=True)]
        for name in _TOKENS
        if name in features
    }
