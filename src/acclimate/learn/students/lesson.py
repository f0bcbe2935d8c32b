"""What every student has in common: the lesson that it reads, and what training asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.records import Doc, NWay
    from acclimate.search.members import Ids
    from acclimate.search.vectors import Vectors

LIST, BATCH, CORPUS = "list", "batch", "corpus"  # documents that share a query's softmax
_NEAR = 0.9  # cosine of the base's vectors from which on two documents are looked at word by word


class Similarities(NamedTuple):
    """What a student says of one example's documents, and of others that share their softmax."""

    scores: torch.Tensor  # (n_lengths, n_docs), a row for each length that vectors are cut to; -inf: counts for nothing
    places: torch.Tensor  # (n_ways,) of the example's own documents, in its order

    def log_probs(self, temperature: float) -> torch.Tensor:
        """(n_ways,) log-probabilities of its own documents, in its order, with gradients; the mean over lengths.

        They add to less than 1 where other documents share the softmax. A KL divergence is linear in them, so its loss
        is the mean of the losses at each length: Matryoshka representation learning (Kusupati et al. 2022).
        """
        return torch.log_softmax(self.scores.float() / temperature, dim=-1)[:, self.places].mean(dim=0)


@dataclass(frozen=True)
class Lesson:
    """What every student reads: the texts of queries and documents, and the vectors of the index."""

    queries: Mapping[str, str]  # query_id -> text
    corpus: Mapping[str, Doc]
    ids: Ids
    vectors: Vectors
    alike: Callable[[str, str], bool] | None = None  # whether two documents are copies; None: no copy is looked for

    def query_texts(self, batch: Sequence[NWay]) -> list[str]:
        """The text of each example's query."""
        return [self.queries[example.query_id] for example in batch]

    def document_texts(self, doc_ids: Sequence[str]) -> list[str]:
        """The text of each of these documents."""
        return [self.corpus[doc_id].default_text() for doc_id in doc_ids]

    def answers(self, batch: Sequence[NWay], doc_ids: list[str]) -> NDArray[np.bool_]:
        """(n_queries, n_docs) True for a document that answers a query as its first one does. All of them: by row.

        It is a passage of the same document, or a copy of it, which `alike` says of those whose vectors are near.
        """
        sources = np.array([self.ids.row[example.doc_ids[0]] for example in batch])
        rows = np.array([self.ids.row[doc_id] for doc_id in doc_ids])
        documents = self.ids.documents if self.ids.documents is not None else np.arange(len(self.ids))
        are_answers = documents[sources][:, None] == documents[rows]
        if self.alike is not None:
            vectors = self.vectors.pooled[sources]
            is_all = len(rows) == len(self.ids)  # which need not be copied
            cosines = self.vectors.dense_scores(vectors) if is_all else vectors @ self.vectors.pooled[rows].T
            for number, place in np.argwhere((cosines > _NEAR) & ~are_answers):
                are_answers[number, place] = self.alike(batch[number].doc_ids[0], doc_ids[int(place)])
        return are_answers


class Learner(Protocol):
    """What holds a student's weights: an encoder, or tables beside one."""

    @property
    def model(self) -> torch.nn.Module: ...


class Student(Protocol):
    """A retriever that is being trained. `kind` is dense, late-interaction, sparse or static."""

    kind: ClassVar[str]
    keeps_index: ClassVar[bool]  # True when document vectors do not change

    @property
    def encoder(self) -> Learner: ...

    @property
    def negatives(self) -> str: ...

    def similarities(self, batch: Sequence[NWay]) -> list[Similarities]:
        """What it says of each example's documents, and of those that share their softmax."""
        ...

    def penalty(self) -> torch.Tensor | float:
        """What is added to the loss of the batch that was asked for last; 0 where nothing is."""
        ...


def batch_documents(batch: Sequence[NWay]) -> dict[str, int]:
    """Id of each document of the batch -> its place among them, in the order of their first mention."""
    doc_ids = dict.fromkeys(doc_id for example in batch for doc_id in example.doc_ids)
    return {doc_id: place for place, doc_id in enumerate(doc_ids)}


def by_example(
    scores: torch.Tensor, batch: Sequence[NWay], place: Mapping[str, int], lesson: Lesson, negatives: str
) -> list[Similarities]:
    """A batch's similarities, as far as they share a softmax.

    scores: (n_lengths, n_queries, n_docs), a row per example; place: doc_id -> column, in the order of columns. Other
    documents that answer a query as its first one does count for nothing, where the lesson looks for them.
    """
    of_examples = [
        torch.tensor([place[doc_id] for doc_id in example.doc_ids], device=scores.device) for example in batch
    ]
    if negatives == LIST:
        return [
            Similarities(scores[:, number, places], torch.arange(len(places), device=scores.device))
            for number, places in enumerate(of_examples)
        ]
    if negatives == BATCH and (doc_ids := batch_documents(batch)) and len(doc_ids) < scores.shape[-1]:
        columns = torch.tensor([place[doc_id] for doc_id in doc_ids], device=scores.device)
        return by_example(scores[..., columns], batch, doc_ids, lesson, negatives)
    if lesson.alike is not None:
        answers = torch.from_numpy(lesson.answers(batch, list(place))).to(scores.device)
        for number, places in enumerate(of_examples):
            answers[number, places] = False
        scores = scores.masked_fill(answers, -torch.inf)
    return [Similarities(scores[:, number], places) for number, places in enumerate(of_examples)]
