"""Dense students: a text is one vector, and a document's score the cosine of it and the query's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
from torch.nn.functional import normalize

from acclimate.learn.students.encoding import encode_with_gradients, in_float32
from acclimate.learn.students.index_vectors import IndexVectors
from acclimate.learn.students.lesson import Lesson, batch_documents
from acclimate.learn.students.similarities import Comparison, Similarities, comparison
from acclimate.records import NWay
from acclimate.search.encoded import Task, Tokens
from acclimate.search.encoder import Encoder


class Texts(NamedTuple):
    """What dense students read of a batch."""

    queries: Sequence[Tokens]
    documents: Sequence[Tokens]  # none where the vectors of the index are compared
    comparison: Comparison
    others: torch.Tensor | None = None  # vectors of the index, see `index_vectors.Compared`


@dataclass(frozen=True)
class Dense:
    """Dense retrieval, both sides: all documents of the batch are encoded as they are now."""

    kind: ClassVar[str] = "dense"
    keeps_index: ClassVar[bool] = False
    encoder: Encoder
    lesson: Lesson
    negatives: str
    dims: Sequence[int] = ()  # lengths that it learns beside the whole

    def read(self, batch: Sequence[NWay]) -> Texts:
        """The tokens of queries and documents."""
        place = batch_documents(batch)
        queries = self.encoder.tokenize(self.lesson.query_texts(batch), "query")
        documents = self.encoder.tokenize(self.lesson.document_texts(list(place)), "document")
        return Texts(queries, documents, comparison(batch, place, self.lesson, self.negatives))

    def similarities(self, read: Texts) -> list[Similarities]:
        """Cosines, of the whole vectors and of each of `dims`."""
        queries = self._pooled(read.queries, "query")
        documents = self._documents(read)
        with in_float32():
            cosines = nested_cosines(queries, documents, self.dims)
        return read.comparison.similarities(cosines)

    def _documents(self, read: Texts) -> torch.Tensor:
        """(n_docs, dim) the documents that are compared."""
        return self._pooled(read.documents, "document")

    def _pooled(self, texts: Sequence[Tokens], task: Task) -> torch.Tensor:
        """(n_texts, dim)"""
        return encode_with_gradients(self.encoder, texts, task, with_tokens=False).pooled

    def penalty(self) -> float:
        """None."""
        return 0.0


class DenseQuery(Dense):
    """The same, query encoder only: documents keep the vectors of the index."""

    keeps_index: ClassVar[bool] = True

    @cached_property
    def _index(self) -> IndexVectors:
        return IndexVectors(self.lesson)

    def read(self, batch: Sequence[NWay]) -> Texts:
        """The tokens of queries."""
        queries, compared = self.encoder.tokenize(self.lesson.query_texts(batch), "query"), self._index.of(batch)
        return Texts(queries, [], comparison(batch, compared.places, self.lesson, self.negatives), compared.others)

    def _documents(self, read: Texts) -> torch.Tensor:
        return self._index.vectors(read.others)


def nested_cosines(queries: torch.Tensor, documents: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """(1 + n_dims, n_queries, n_docs) of the whole vectors, and of their first `dims` components.

    queries: (n_queries, dim); documents: (n_docs, dim); both of unit length.
    """
    cosines = [queries @ documents.T]
    cosines += [normalize(queries[:, :dim], dim=-1) @ normalize(documents[:, :dim], dim=-1).T for dim in dims]
    return torch.stack(cosines)
