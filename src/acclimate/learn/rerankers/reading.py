"""How a reranker that learns reads pairs that it does not learn from: as one at work reads them, where that is known.

The library's own pass, which training needs, takes several times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from sentence_transformers import CrossEncoder

from acclimate.search.scorers import cross_encoder
from acclimate.search.scorers.pairs import Reader
from acclimate.search.scorers.prompted import Prompted

Features = Mapping[str, torch.Tensor]


def reader_of(model: CrossEncoder, max_tokens: int) -> Reader:
    """What reads pairs with the weights that the model has now."""
    module = model[0]
    return module if isinstance(module, Prompted) else cross_encoder.reader_of(model, max_tokens=max_tokens)


@contextmanager
def as_at_work(model: CrossEncoder, max_tokens: int) -> Iterator[None]:
    """Within, the model's scores are its reader's, where that is faster; its weights must stay as they are."""
    if "forward" in vars(model) or not cross_encoder.is_bert(model):  # its scores are another's already
        yield
        return
    reader = reader_of(model, max_tokens)
    with _forwarding(model, lambda features: reader.logits(_unpadded(features))[:, None]):
        yield


@contextmanager
def all_equal(model: CrossEncoder) -> Iterator[None]:
    """Within, the model gives every pair the same score: what a loss is then is chance."""
    with _forwarding(model, lambda features: torch.zeros(len(features["input_ids"]), 1, device=model.device)):
        yield


@contextmanager
def _forwarding(model: CrossEncoder, scores: Callable[[Features], torch.Tensor]) -> Iterator[None]:
    instance: Any = model
    instance.forward = lambda features, **_: {"scores": scores(features)}
    try:
        yield
    finally:
        del instance.forward


def _unpadded(features: Features) -> dict[str, list[list[int]]]:
    """The tokens of each row, by what is said of them."""
    attended = features["attention_mask"].bool().cpu()
    return {
        name: [values[attend].tolist() for values, attend in zip(features[name].cpu(), attended, strict=True)]
        for name in ("input_ids", "token_type_ids")
        if name in features
    }
