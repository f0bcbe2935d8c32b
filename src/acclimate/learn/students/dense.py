"""Dense students: a text is one vector, and a document's score the cosine of it and the query's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch.nn.functional import normalize

from acclimate.learn.students.encoding import encode_with_gradients, in_float32
from acclimate.learn.students.lesson import Lesson, Similarities, batch_documents, by_example
from acclimate.records import NWay
from acclimate.search.encoder import Encoder, Task


@dataclass(frozen=True)
class Dense:
    """Dense retrieval, both sides: all documents of the batch are encoded as they are now."""

    kind: ClassVar[str] = "dense"
    keeps_index: ClassVar[bool] = False
    encoder: Encoder
    lesson: Lesson
    negatives: str
    dims: Sequence[int] = ()  # lengths that it learns beside the whole

    def similarities(self, batch: Sequence[NWay]) -> list[Similarities]:
        """Cosines, of the whole vectors and of each of `dims`."""
        queries = _pooled(self.encoder, self.lesson.query_texts(batch), "query")
        documents, place = self._documents(batch)
        with in_float32():
            cosines = nested_cosines(queries, documents, self.dims)
        return by_example(cosines, batch, place, self.lesson, self.negatives)

    def _documents(self, batch: Sequence[NWay]) -> tuple[torch.Tensor, Mapping[str, int]]:
        """((n_docs, dim) the documents that are compared, id of each one -> its row)."""
        place = batch_documents(batch)
        return _pooled(self.encoder, self.lesson.document_texts(list(place)), "document"), place

    def penalty(self) -> float:
        """None."""
        return 0.0


class DenseQuery(Dense):
    """The same, query encoder only: the vectors of the whole corpus are those of the index."""

    keeps_index: ClassVar[bool] = True

    @cached_property
    def _index(self) -> torch.Tensor:
        return torch.tensor(self.lesson.vectors.pooled).to(self.encoder.model.device)

    def _documents(self, batch: Sequence[NWay]) -> tuple[torch.Tensor, Mapping[str, int]]:
        return self._index, self.lesson.ids.row


def _pooled(encoder: Encoder, texts: Sequence[str], task: Task) -> torch.Tensor:
    """(n_texts, dim)"""
    return encode_with_gradients(encoder, texts, task, with_tokens=False).pooled


def nested_cosines(queries: torch.Tensor, documents: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """(1 + n_dims, n_queries, n_docs) of the whole vectors, and of their first `dims` components.

    queries: (n_queries, dim); documents: (n_docs, dim); both of unit length.
    """
    cosines = [queries @ documents.T]
    cosines += [normalize(queries[:, :dim], dim=-1) @ normalize(documents[:, :dim], dim=-1).T for dim in dims]
    return torch.stack(cosines)
