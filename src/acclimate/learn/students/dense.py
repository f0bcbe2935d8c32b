"""Dense students: one vector per text, scored by cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
from torch.nn.functional import normalize

from acclimate.learn.students.encoding import encode_with_gradients, in_float32
from acclimate.learn.students.index_vectors import IndexVectors
from acclimate.learn.students.similarities import Comparison, Similarities, comparison
from acclimate.learn.students.training_data import TrainingData, batch_documents
from acclimate.records import NWay
from acclimate.search.encoded import Task, Tokens
from acclimate.search.encoder import Encoder


class Texts(NamedTuple):
    """A batch as dense students read it."""

    queries: Sequence[Tokens]
    documents: Sequence[Tokens]  # empty if the index's vectors are used
    comparison: Comparison
    others: torch.Tensor | None = None  # vectors of the index, see `index_vectors.Compared`


@dataclass(frozen=True)
class Dense:
    """Dense retrieval with both encoders trained: the batch's documents are encoded in each step."""

    kind: ClassVar[str] = "dense"
    keeps_index: ClassVar[bool] = False
    encoder: Encoder
    data: TrainingData
    negatives: str
    dims: Sequence[int] = ()  # truncated lengths that it learns, too (Matryoshka)

    def read(self, batch: Sequence[NWay]) -> Texts:
        """Tokens of queries and documents."""
        place = batch_documents(batch)
        queries = self.encoder.tokenize(self.data.query_texts(batch), "query")
        documents = self.encoder.tokenize(self.data.document_texts(list(place)), "document")
        return Texts(queries, documents, comparison(batch, place, self.data, self.negatives))

    def similarities(self, read: Texts) -> list[Similarities]:
        """Cosines of the whole vectors, and of those truncated to each of `dims`."""
        queries = self._pooled(read.queries, "query")
        documents = self._documents(read)
        with in_float32():
            cosines = nested_cosines(queries, documents, self.dims)
        return read.comparison.similarities(cosines)

    def _documents(self, read: Texts) -> torch.Tensor:
        """(n_docs, dim) document vectors to compare with."""
        return self._pooled(read.documents, "document")

    def _pooled(self, texts: Sequence[Tokens], task: Task) -> torch.Tensor:
        """(n_texts, dim)"""
        return encode_with_gradients(self.encoder, texts, task, with_tokens=False).pooled

    def penalty(self) -> float:
        """None."""
        return 0.0


class DenseQuery(Dense):
    """Dense retrieval with the query encoder trained: documents keep the index's vectors."""

    keeps_index: ClassVar[bool] = True

    @cached_property
    def _index(self) -> IndexVectors:
        return IndexVectors(self.data)

    def read(self, batch: Sequence[NWay]) -> Texts:
        """Tokens of queries."""
        queries, compared = self.encoder.tokenize(self.data.query_texts(batch), "query"), self._index.of(batch)
        return Texts(queries, [], comparison(batch, compared.places, self.data, self.negatives), compared.others)

    def _documents(self, read: Texts) -> torch.Tensor:
        return self._index.vectors(read.others)


def nested_cosines(queries: torch.Tensor, documents: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """(1 + n_dims, n_queries, n_docs) cosines of whole vectors, and of vectors truncated to `dims`.

    queries: (n_queries, dim); documents: (n_docs, dim); both normalized.
    """
    cosines = [queries @ documents.T]
    cosines += [normalize(queries[:, :dim], dim=-1) @ normalize(documents[:, :dim], dim=-1).T for dim in dims]
    return torch.stack(cosines)
