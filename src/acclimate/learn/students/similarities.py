"""Similarities between a batch's queries and documents, and which documents share a softmax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from acclimate.base.gpu import on_device, pinned
from acclimate.learn.students.choices import BATCH, LIST
from acclimate.learn.students.training_data import batch_documents

if TYPE_CHECKING:
    from acclimate.learn.students.training_data import TrainingData
    from acclimate.records import NWay


class Similarities(NamedTuple):
    """Scores for examples with equally many documents, and for others that share their softmax."""

    scores: torch.Tensor  # (n_lengths, n, n_docs) one per vector length (Matryoshka); -inf: ignored
    places: torch.Tensor  # (n, n_ways) columns of each example's own documents, in order

    def log_probs(self, temperature: float, left_out: torch.Tensor | None = None) -> torch.Tensor:
        """(n, n_ways) log-probabilities of an example's own documents, with gradients; mean over lengths.

        They sum to less than 1 if other documents share the softmax. As KL divergence is linear in them, its loss is
        the mean of the losses at each length: Matryoshka representation learning (Kusupati et al. 2022). left_out: (n,
        n_ways) True for own documents to exclude from the softmax; None: none.
        """
        scores = self.scores.float() / temperature
        if left_out is not None:
            hidden = torch.zeros(scores.shape[1:], dtype=torch.bool, device=scores.device)
            scores = scores.masked_fill(hidden.scatter(-1, self.places, left_out), -torch.inf)
        logs = torch.log_softmax(scores, dim=-1)
        return logs.gather(-1, self.places.expand(len(logs), -1, -1)).mean(dim=0)

    def within_list(self) -> Similarities:
        """Those of an example's own documents alone."""
        return alone(self.scores.gather(-1, self.places.expand(len(self.scores), -1, -1)))


def shape_groups(batch: Sequence[NWay]) -> list[list[int]]:
    """Group a batch's examples, by position, that have equally many documents, and all or none a source."""
    groups: dict[tuple[int, bool], list[int]] = {}
    for number, example in enumerate(batch):
        groups.setdefault((len(example.doc_ids), example.has_positive), []).append(number)
    return list(groups.values())


class Comparison(NamedTuple):
    """Which scores of a batch share a softmax."""

    groups: list[list[int]]  # see `shape_groups`
    places: list[torch.Tensor]  # for each group: (n, n_ways) columns of the examples' documents
    is_list: bool  # each example has its own softmax
    columns: torch.Tensor | None  # columns that count; None: all
    answers: torch.Tensor | None  # (n_queries, n_docs) True for documents to ignore; None: none

    def similarities(self, scores: torch.Tensor) -> list[Similarities]:
        """Similarities of each group. scores: (n_lengths, n_queries, n_docs), one row per example."""
        if self.columns is not None:
            scores = scores[..., on_device(self.columns)]
        if self.answers is not None:
            scores = scores.masked_fill(on_device(self.answers), -torch.inf)
        by_form: list[Similarities] = []
        for numbers, places in zip(self.groups, map(on_device, self.places), strict=True):
            rows = scores if len(self.groups) == 1 else scores[:, on_device(torch.tensor(numbers))]
            if self.is_list:
                by_form.append(Similarities(rows, places).within_list())
            else:
                by_form.append(Similarities(rows, places))
        return by_form


def comparison(batch: Sequence[NWay], place: Mapping[str, int], data: TrainingData, negatives: str) -> Comparison:
    """Which scores of this batch share a softmax.

    place: doc_id -> column. Other documents as relevant as an example's first are ignored, if `data` detects them.
    """
    columns = answers = None
    if negatives == BATCH and len(doc_ids := batch_documents(batch)) < len(place):
        columns = pinned(torch.tensor([place[doc_id] for doc_id in doc_ids]))
        place = doc_ids
    if negatives != LIST and data.alike is not None:
        are_answers = data.answers(batch, list(place))
        for row, example in zip(are_answers, batch, strict=True):
            row[[place[doc_id] for doc_id in example.doc_ids]] = False
        answers = pinned(torch.from_numpy(are_answers))
    groups = shape_groups(batch)
    places = [torch.tensor([[place[doc_id] for doc_id in batch[row].doc_ids] for row in rows]) for rows in groups]
    return Comparison(groups, [pinned(form) for form in places], negatives == LIST, columns, answers)


def alone(scores: torch.Tensor) -> Similarities:
    """Examples with a softmax of their own. scores: (n_lengths, n, n_ways) of their documents."""
    _, n, n_ways = scores.shape
    return Similarities(scores, torch.arange(n_ways, device=scores.device).expand(n, -1))
