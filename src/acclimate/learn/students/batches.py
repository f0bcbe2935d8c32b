"""A batch as training takes it: read first, on the host and ahead of time, then compared and judged on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from acclimate.base.gpu import on_device, pinned
from acclimate.learn.students.similarities import of_one_form

if TYPE_CHECKING:
    from acclimate.learn.students.losses import DistillationLoss
    from acclimate.learn.students.student import Student
    from acclimate.records import NWay

Priors = Mapping[tuple[str, tuple[str, ...]], float]  # of the lists of a query: see `DistillationLoss`


class Form(NamedTuple):
    """Examples that a loss treats together, see `of_one_form`."""

    scores: torch.Tensor  # (n, n_ways) the teacher's
    priors: torch.Tensor | None  # (n,) see `DistillationLoss`
    has_positive: bool


class ReadBatch(NamedTuple):
    """What is known of a batch before anything is computed."""

    size: int
    lists: Any  # as the student reads them
    forms: list[Form]
    as_given: torch.Tensor | None  # (size,) where each example is among those of all forms; None: in its place


def read_batch(student: Student, batch: Sequence[NWay], priors: Priors) -> ReadBatch:
    """What a step reads of a batch. A thread may call this while a step is computed."""
    forms: list[Form] = []
    by_form = of_one_form(batch)
    for numbers in by_form:
        examples = [batch[number] for number in numbers]
        seen = [priors[example.query_id, example.doc_ids] for example in examples] if priors else None
        forms.append(
            Form(
                pinned(torch.tensor([example.scores for example in examples])),
                None if seen is None else pinned(torch.tensor(seen)),
                examples[0].has_positive,
            )
        )
    order = torch.tensor([number for numbers in by_form for number in numbers]).argsort()
    return ReadBatch(len(batch), student.read(batch), forms, None if len(forms) == 1 else pinned(order))


def mean_loss(student: Student, loss: DistillationLoss, batch: ReadBatch) -> torch.Tensor:
    """Mean loss of a batch."""
    losses = [
        loss(
            similarities,
            on_device(form.scores),
            None if form.priors is None else on_device(form.priors),
            has_positive=form.has_positive,
        )
        for similarities, form in zip(student.similarities(batch.lists), batch.forms, strict=True)
    ]
    together = torch.cat(losses)
    return (together if batch.as_given is None else together[on_device(batch.as_given)]).mean()
