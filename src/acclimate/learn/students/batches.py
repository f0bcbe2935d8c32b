"""Training batches: read on the host ahead of time, then scored on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from acclimate.base.gpu import on_device, pinned
from acclimate.learn.students.similarities import shape_groups

if TYPE_CHECKING:
    from acclimate.learn.students.losses import DistillationLoss
    from acclimate.learn.students.student import Student
    from acclimate.records import NWay

Priors = Mapping[tuple[str, tuple[str, ...]], float]  # for the lists of a query: see `DistillationLoss`


class ShapeGroup(NamedTuple):
    """Examples of equal shape, which a loss treats together; see `similarities.shape_groups`."""

    scores: torch.Tensor  # (n, n_ways) teacher scores
    priors: torch.Tensor | None  # (n,) see `DistillationLoss`
    has_positive: bool


class ReadBatch(NamedTuple):
    """A batch before any computation."""

    lists: Any  # as the student reads them
    groups: list[ShapeGroup]


def read_batch(student: Student, batch: Sequence[NWay], priors: Priors) -> ReadBatch:
    """Read what a step needs of a batch. Safe to call in a thread while another step computes."""
    groups: list[ShapeGroup] = []
    for numbers in shape_groups(batch):
        examples = [batch[number] for number in numbers]
        seen = [priors[example.query_id, example.doc_ids] for example in examples] if priors else None
        groups.append(
            ShapeGroup(
                pinned(torch.tensor([example.scores for example in examples])),
                None if seen is None else pinned(torch.tensor(seen)),
                examples[0].has_positive,
            )
        )
    return ReadBatch(student.read(batch), groups)


def mean_loss(student: Student, loss: DistillationLoss, batch: ReadBatch) -> torch.Tensor:
    """Mean loss of a batch."""
    losses = [
        loss(
            similarities,
            on_device(form.scores),
            None if form.priors is None else on_device(form.priors),
            has_positive=form.has_positive,
        )
        for similarities, form in zip(student.similarities(batch.lists), batch.groups, strict=True)
    ]
    return torch.cat(losses).mean()
