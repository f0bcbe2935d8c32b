"""Dense students: a text is one vector, and a document's score the cosine of it and the query's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch.nn.functional import log_softmax, normalize

from acclimate.learn.students.encoding import encode_with_gradients
from acclimate.learn.students.lesson import Lesson, batch_documents, by_example
from acclimate.records import NWay
from acclimate.search.encoder import Encoder


@dataclass(frozen=True)
class Dense:
    """Dense retrieval, both sides: a softmax over all documents of the batch, encoded as they are now."""

    kind: ClassVar[str] = "dense"
    keeps_index: ClassVar[bool] = False
    sees_corpus: ClassVar[bool] = False
    encoder: Encoder
    lesson: Lesson
    temperature: float
    dims: Sequence[int] = ()  # lengths that it learns beside the whole

    def log_probs(self, batch: Sequence[NWay]) -> list[torch.Tensor]:
        """Per example: (n_ways,) log-probabilities of its documents among those of the softmax."""
        queries = encode_with_gradients(self.encoder, self.lesson.query_texts(batch), "query").pooled
        documents, place = self._documents(batch)
        return by_example(nested_log_softmax(queries, documents, self.dims, self.temperature), batch, place)

    def _documents(self, batch: Sequence[NWay]) -> tuple[torch.Tensor, Mapping[str, int]]:
        """((n_docs, dim) the documents of the softmax, id of each one -> its row)."""
        place = batch_documents(batch)
        return encode_with_gradients(self.encoder, self.lesson.document_texts(list(place)), "document").pooled, place

    def penalty(self) -> float:
        """None."""
        return 0.0


class DenseQuery(Dense):
    """The same, query encoder only: a softmax over the whole corpus, whose vectors are those of the index."""

    keeps_index: ClassVar[bool] = True
    sees_corpus: ClassVar[bool] = True

    @cached_property
    def _index(self) -> torch.Tensor:
        return torch.tensor(self.lesson.vectors.pooled).to(self.encoder.model.device)

    def _documents(self, batch: Sequence[NWay]) -> tuple[torch.Tensor, Mapping[str, int]]:
        return self._index, self.lesson.ids.row


def nested_log_softmax(
    queries: torch.Tensor, documents: torch.Tensor, dims: Sequence[int], temperature: float
) -> torch.Tensor:
    """(n_queries, n_docs) log-probabilities, the mean over the whole vectors and their first `dims` components.

    queries: (n_queries, dim); documents: (n_docs, dim); both of unit length.
    A KL divergence is linear in them, so its loss is the mean of the losses at each length: Matryoshka representation
    learning (Kusupati et al. 2022).
    """
    logs = [log_softmax(queries @ documents.T / temperature, dim=-1)]
    for dim in dims:
        similarities = normalize(queries[:, :dim], dim=-1) @ normalize(documents[:, :dim], dim=-1).T
        logs.append(log_softmax(similarities / temperature, dim=-1))
    return torch.stack(logs).mean(dim=0)
