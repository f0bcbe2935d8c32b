"""What a student says of the documents of a batch, and which of them share a softmax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from acclimate.base.gpu import on_device, pinned
from acclimate.learn.students.lesson import BATCH, LIST, batch_documents

if TYPE_CHECKING:
    from acclimate.learn.students.lesson import Lesson
    from acclimate.records import NWay


class Similarities(NamedTuple):
    """What a student says of examples with equally many documents, and of others that share their softmax."""

    scores: torch.Tensor  # (n_lengths, n, n_docs), a row for each length that vectors are cut to; -inf: counts for none
    places: torch.Tensor  # (n, n_ways) of each example's own documents, in its order

    def log_probs(self, temperature: float, left_out: torch.Tensor | None = None) -> torch.Tensor:
        """(n, n_ways) log-probabilities of their own documents, in their order, with gradients; the mean over lengths.

        They add to less than 1 where other documents share the softmax. A KL divergence is linear in them, so its loss
        is the mean of the losses at each length: Matryoshka representation learning (Kusupati et al. 2022).
        left_out: (n, n_ways) True for those of them that count for nothing, which are never found; None: none.
        """
        scores = self.scores.float() / temperature
        if left_out is not None:
            hidden = torch.zeros(scores.shape[1:], dtype=torch.bool, device=scores.device)
            scores = scores.masked_fill(hidden.scatter(-1, self.places, left_out), -torch.inf)
        logs = torch.log_softmax(scores, dim=-1)
        return logs.gather(-1, self.places.expand(len(logs), -1, -1)).mean(dim=0)


def of_one_form(batch: Sequence[NWay]) -> list[list[int]]:
    """Examples of a batch, by number, that a loss treats together: as many documents each, a source in all or none."""
    forms: dict[tuple[int, bool], list[int]] = {}
    for number, example in enumerate(batch):
        forms.setdefault((len(example.doc_ids), example.has_positive), []).append(number)
    return list(forms.values())


class Comparison(NamedTuple):
    """Which scores of a batch share a softmax."""

    forms: list[list[int]]  # see `of_one_form`
    places: list[torch.Tensor]  # of each form: (n, n_ways) columns of the examples' documents
    is_list: bool  # an example's documents share theirs with no others
    columns: torch.Tensor | None  # those that count; None: all do
    answers: torch.Tensor | None  # (n_queries, n_docs) True for what counts for nothing; None: nothing does

    def similarities(self, scores: torch.Tensor) -> list[Similarities]:
        """By form. scores: (n_lengths, n_queries, n_docs), a row per example."""
        if self.columns is not None:
            scores = scores[..., on_device(self.columns)]
        if self.answers is not None:
            scores = scores.masked_fill(on_device(self.answers), -torch.inf)
        by_form: list[Similarities] = []
        for numbers, places in zip(self.forms, map(on_device, self.places), strict=True):
            rows = scores if len(self.forms) == 1 else scores[:, on_device(torch.tensor(numbers))]
            if self.is_list:
                by_form.append(alone(rows.gather(-1, places.expand(len(rows), -1, -1))))
            else:
                by_form.append(Similarities(rows, places))
        return by_form


def comparison(batch: Sequence[NWay], place: Mapping[str, int], lesson: Lesson, negatives: str) -> Comparison:
    """Which scores of this batch share a softmax.

    place: doc_id -> column of the scores, in the order of columns. Other documents that answer a query as its first one
    does count for nothing, where the lesson looks for them.
    """
    columns = answers = None
    if negatives == BATCH and len(doc_ids := batch_documents(batch)) < len(place):
        columns = pinned(torch.tensor([place[doc_id] for doc_id in doc_ids]))
        place = doc_ids
    if negatives != LIST and lesson.alike is not None:
        are_answers = lesson.answers(batch, list(place))
        for row, example in zip(are_answers, batch, strict=True):
            row[[place[doc_id] for doc_id in example.doc_ids]] = False
        answers = pinned(torch.from_numpy(are_answers))
    forms = of_one_form(batch)
    places = [torch.tensor([[place[doc_id] for doc_id in batch[row].doc_ids] for row in rows]) for rows in forms]
    return Comparison(forms, [pinned(form) for form in places], negatives == LIST, columns, answers)


def alone(scores: torch.Tensor) -> Similarities:
    """Examples whose documents share a softmax with no others. scores: (n_lengths, n, n_ways) of their own."""
    _, n, n_ways = scores.shape
    return Similarities(scores, torch.arange(n_ways, device=scores.device).expand(n, -1))
