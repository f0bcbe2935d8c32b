"""Evaluate a reranker in training on held-out lists."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from sentence_transformers import CrossEncoder

from acclimate.learn.rerankers.inference import reader_of
from acclimate.learn.rerankers.texts import Texts
from acclimate.measure.measures import ndcg
from acclimate.records import NWay
from acclimate.search.scorers.lists import queries_at_once
from acclimate.search.scorers.pairs import rate

FLAT = 1e-3  # spread of logits below which a list counts as unordered


class Ranking(NamedTuple):
    """Quality of a ranking, and the spread of its scores."""

    ndcg: float  # mean nDCG@10 of the positive, in [0, 1]; ties count as lost
    spread: float  # mean standard deviation of scores in a list


def has_collapsed(spread: float, best_loss: float, chance: float | None) -> bool:
    """True if scores hardly differ, or if no held-out loss was below that of chance (None: not known)."""
    return not (spread >= FLAT and best_loss < (math.inf if chance is None else chance))


def rank_held_out(
    model: CrossEncoder,
    max_tokens: int,
    dev: Sequence[NWay],
    texts: Texts,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Ranking:
    """Evaluate the model's current weights on the held-out lists, which `progress` counts."""
    model.eval()
    reader, scores = reader_of(model, max_tokens), list[float]()
    at_once = queries_at_once()
    for start in range(0, len(dev), at_once):
        some = dev[start : start + at_once]
        scores += rate(reader, texts.pairs(some))
        progress(start + len(some), len(dev))
    return ranking_of(by_list(dev, scores))


def by_list(lists: Sequence[NWay], scores: Iterable[float]) -> list[list[float]]:
    """Split scores of all pairs by list."""
    in_order = iter(scores)
    return [[next(in_order) for _ in example.doc_ids] for example in lists]


def ranking_of(lists: Sequence[Sequence[float]]) -> Ranking:
    """The ranking of these lists of scores, positive first."""
    ranks = [
        1 + sum(not negative < positive for negative in negatives) if math.isfinite(positive) else math.inf
        for positive, *negatives in lists
    ]
    values = ndcg(np.ones(1), np.array(ranks)[:, None])
    spreads = [statistics.pstdev(scores) if all(map(math.isfinite, scores)) else 0.0 for scores in lists]
    return Ranking(float(values.mean()), statistics.fmean(spreads))
