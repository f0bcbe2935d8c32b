"""The order in which a given number of steps reads rows: each once before any is read again."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import SequentialSampler


def cycled(rows: Dataset, count: int, seed: int) -> Dataset:
    """`count` rows: all of them in random order, then all in another random order, and so on."""
    passes = -(-count // len(rows))
    orders = [np.random.default_rng([seed, number]).permutation(len(rows)) for number in range(passes)]
    return rows.select(np.concatenate(orders)[:count])


def sequential_batches(rows: Dataset, **batches: Any) -> DefaultBatchSampler:
    """A sampler of batches in the order of rows."""
    order: Any = SequentialSampler(rows)
    return DefaultBatchSampler(order, **batches)
