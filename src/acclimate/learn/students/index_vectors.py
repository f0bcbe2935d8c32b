"""The vectors of the index as students compare them with queries: of every document, or of a large corpus some.

A student whose documents stay those of the index shares its softmax with the whole corpus. Of more than AT_MOST
documents it is as many, drawn once, and those of the batch: what the others would add to the softmax these stand for,
and a step takes no more time and memory however large the corpus is.
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
from acclimate.learn.students.lesson import Lesson, batch_documents
from acclimate.records import NWay

AT_MOST = 200_000


class Compared(NamedTuple):
    """The documents that a batch of queries is compared with."""

    places: Mapping[str, int]  # id -> column of the scores
    others: torch.Tensor | None  # (n, dim) vectors of those that were not drawn, behind the drawn ones


class IndexVectors:
    """The vectors of a lesson's index, on the device."""

    def __init__(self, lesson: Lesson) -> None:
        self.lesson = lesson

    def of(self, batch: Sequence[NWay]) -> Compared:
        """What the queries of a batch are compared with."""
        if self._drawn is None:
            return Compared(self.lesson.ids.row, None)
        others = [doc_id for doc_id in batch_documents(batch) if doc_id not in self._drawn]
        places = self._drawn | {doc_id: len(self._drawn) + place for place, doc_id in enumerate(others)}
        rows = [self.lesson.ids.row[doc_id] for doc_id in others]
        return Compared(places, pinned(torch.from_numpy(self.lesson.vectors.pooled[rows])) if rows else None)

    def vectors(self, others: torch.Tensor | None) -> torch.Tensor:
        """(n_columns, dim) on the device. others: of what is compared."""
        return self._resident if others is None else torch.cat([self._resident, on_device(others)])

    @cached_property
    def _rows(self) -> NDArray[np.int64] | None:
        """The rows of the documents that are drawn, ascending; None: all are. Which they are follows from the ids."""
        ids = self.lesson.ids
        if len(ids) <= AT_MOST:
            return None
        is_drawn = np.zeros(len(ids), dtype=bool)
        is_drawn[np.random.default_rng(0).choice(len(ids), AT_MOST, replace=False)] = True
        return np.flatnonzero(is_drawn[ids.rank])

    @cached_property
    def _drawn(self) -> dict[str, int] | None:
        """Id -> column of those that are drawn; None: every document is compared, in its row."""
        if self._rows is None:
            return None
        doc_ids = self.lesson.ids.doc_ids
        return {str(doc_ids[row]): place for place, row in enumerate(self._rows.tolist())}

    @cached_property
    def _resident(self) -> torch.Tensor:
        pooled = self.lesson.vectors.pooled
        resident = torch.from_numpy(np.asarray(pooled if self._rows is None else pooled[self._rows]))
        return resident.to(models.device())  # once: memory that a GPU reads by itself would stay with the process
