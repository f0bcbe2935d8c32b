"""How a reranker orders held-out lists, positive first."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from acclimate.measure.measures import ndcg
from acclimate.records import Doc, NWay
from acclimate.search.scorers.pairs import Reader, rate

FLAT = 1e-3  # a list whose scores differ by less, as logits, is in no order


class Measured(NamedTuple):
    """How a reranker orders the held-out lists."""

    ndcg: float  # mean nDCG@10 of the positive; a tie counts as lost
    spread: float  # mean standard deviation of a list's scores


def measure(
    model: torch.nn.Module, reader: Reader, dev: Sequence[NWay], texts: Mapping[str, str], corpus: Mapping[str, Doc]
) -> Measured:
    """How the model, as it is, orders the held-out lists."""
    model.eval()
    asked = [(texts[one.query_id], corpus[doc_id].default_text()) for one in dev for doc_id in one.doc_ids]
    scores = iter(rate(reader, asked))
    return measured([[next(scores) for _ in one.doc_ids] for one in dev])


def measured(lists: Sequence[Sequence[float]]) -> Measured:
    """Of the scores of lists, positive first."""
    ranks = [
        1 + sum(not negative < positive for negative in negatives) if math.isfinite(positive) else math.inf
        for positive, *negatives in lists
    ]
    values = ndcg(np.ones(1), np.array(ranks)[:, None])
    spreads = [statistics.pstdev(scores) if all(map(math.isfinite, scores)) else 0.0 for scores in lists]
    return Measured(float(values.mean()), statistics.fmean(spreads))
