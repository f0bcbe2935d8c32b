"""The order in which a given number of steps reads rows: each once before any is read again."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import SequentialSampler


def cycled(rows: Dataset, count: int, seed: int) -> Dataset:
    """`count` of the rows: all of them in an order that is drawn, then all in another, and so on."""
    passes = -(-count // len(rows))
    orders = [np.random.default_rng([seed, number]).permutation(len(rows)) for number in range(passes)]
    return rows.select(np.concatenate(orders)[:count])


def as_they_come(rows: Dataset, **batches: Any) -> DefaultBatchSampler:
    """Batches of rows in their order."""
    order: Any = SequentialSampler(rows)
    return DefaultBatchSampler(order, **batches)
