"""Document vectors of the index for training: all of them, or a sample of a large corpus.

A student whose documents keep the index's vectors has a softmax over the whole corpus. With more than AT_MOST
documents, a fixed random sample stands for the rest, beside the documents of the batch, so a step's time and memory are
bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from acclimate.base import models
from acclimate.base.gpu import on_device, pinned
from acclimate.learn.students.training_data import TrainingData, batch_documents
from acclimate.records import NWay

AT_MOST = 200_000


class Compared(NamedTuple):
    """The documents that a batch of queries is compared with."""

    places: Mapping[str, int]  # doc id -> column of the scores
    others: torch.Tensor | None  # (n, dim) vectors of the batch's documents outside the sample, in columns after it


class IndexVectors:
    """The index's vectors, on the device."""

    def __init__(self, data: TrainingData) -> None:
        self.data = data

    def of(self, batch: Sequence[NWay]) -> Compared:
        """The documents that a batch's queries are compared with."""
        if self._drawn is None:
            return Compared(self.data.ids.row, None)
        others = [doc_id for doc_id in batch_documents(batch) if doc_id not in self._drawn]
        places = self._drawn | {doc_id: len(self._drawn) + place for place, doc_id in enumerate(others)}
        rows = [self.data.ids.row[doc_id] for doc_id in others]
        return Compared(places, pinned(torch.from_numpy(self.data.vectors.pooled[rows])) if rows else None)

    def vectors(self, others: torch.Tensor | None) -> torch.Tensor:
        """(n_columns, dim) on the device. others: from `Compared`."""
        return self._resident if others is None else torch.cat([self._resident, on_device(others)])

    @cached_property
    def _rows(self) -> NDArray[np.int64] | None:
        """Rows of the sample, ascending, drawn by id; None: all documents."""
        ids = self.data.ids
        if len(ids) <= AT_MOST:
            return None
        is_drawn = np.zeros(len(ids), dtype=bool)
        is_drawn[np.random.default_rng(0).choice(len(ids), AT_MOST, replace=False)] = True
        return np.flatnonzero(is_drawn[ids.rank])

    @cached_property
    def _drawn(self) -> dict[str, int] | None:
        """Doc id -> column of the sample; None: column equals row for every document."""
        if self._rows is None:
            return None
        doc_ids = self.data.ids.doc_ids
        return {str(doc_ids[row]): place for place, row in enumerate(self._rows.tolist())}

    @cached_property
    def _resident(self) -> torch.Tensor:
        pooled = self.data.vectors.pooled
        resident = torch.from_numpy(np.asarray(pooled if self._rows is None else pooled[self._rows]))
        return resident.to(models.device())  # once, without pinned memory, which would stay allocated
