"""What every student has in common: the lesson that it reads, and what training asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch

if TYPE_CHECKING:
    from acclimate.records import Doc, NWay
    from acclimate.search.members import Ids
    from acclimate.search.vectors import Vectors


@dataclass(frozen=True)
class Lesson:
    """What every student reads: the texts of queries and documents, and the vectors of the index."""

    queries: Mapping[str, str]  # query_id -> text
    corpus: Mapping[str, Doc]
    ids: Ids
    vectors: Vectors

    def rows(self, example: NWay) -> list[int]:
        """The row of each document of the example, in its order."""
        return [self.ids.row[doc_id] for doc_id in example.doc_ids]

    def query_texts(self, batch: Sequence[NWay]) -> list[str]:
        """The text of each example's query."""
        return [self.queries[example.query_id] for example in batch]

    def document_texts(self, doc_ids: Sequence[str]) -> list[str]:
        """The text of each of these documents."""
        return [self.corpus[doc_id].default_text() for doc_id in doc_ids]


class Learner(Protocol):
    """What holds a student's weights: an encoder, or tables beside one."""

    @property
    def model(self) -> torch.nn.Module: ...


class Student(Protocol):
    """A retriever that is being trained. `kind` is dense, late-interaction, sparse or static."""

    kind: ClassVar[str]
    keeps_index: ClassVar[bool]  # True when document vectors do not change
    sees_corpus: ClassVar[bool]  # True when its softmax covers every document, not the batch's alone

    @property
    def encoder(self) -> Learner: ...

    def log_probs(self, batch: Sequence[NWay]) -> list[torch.Tensor]:
        """Per example: (n_ways,) log-probabilities of its documents, in its order, with gradients.

        They add to less than 1 where the softmax covers other documents too.
        """
        ...

    def penalty(self) -> torch.Tensor | float:
        """What is added to the loss of the batch that was asked for last; 0 where nothing is."""
        ...


def batch_documents(batch: Sequence[NWay]) -> dict[str, int]:
    """Id of each document of the batch -> its place among them, in the order of their first mention."""
    doc_ids = dict.fromkeys(doc_id for example in batch for doc_id in example.doc_ids)
    return {doc_id: place for place, doc_id in enumerate(doc_ids)}


def by_example(log_probs: torch.Tensor, batch: Sequence[NWay], place: Mapping[str, int]) -> list[torch.Tensor]:
    """Per example of the batch: (n_ways,) its documents' log-probabilities, in its order.

    log_probs: (n_queries, n_docs), a row per example; place: doc_id -> column.
    """
    return [
        row[torch.tensor([place[doc_id] for doc_id in example.doc_ids], device=row.device)]
        for row, example in zip(log_probs, batch, strict=True)
    ]
