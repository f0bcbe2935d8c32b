"""How a reranker orders held-out lists, positive first."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

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
    gains: list[float] = []
    for first, *others in lists:
        rank = 1 + sum(not other < first for other in others)
        gains.append(1 / math.log2(1 + rank) if rank <= 10 and math.isfinite(first) else 0.0)
    spreads = [statistics.pstdev(scores) if all(map(math.isfinite, scores)) else 0.0 for scores in lists]
    return Measured(statistics.fmean(gains), statistics.fmean(spreads))
