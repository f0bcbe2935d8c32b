"""Late-interaction students: a text is a vector per token, and a document's score MaxSim (arXiv 2004.12832)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from acclimate.learn.students.encoding import encode_with_gradients, in_float32
from acclimate.learn.students.lesson import BATCH, Lesson, Similarities, batch_documents, by_example
from acclimate.records import NWay
from acclimate.search.encoder import Encoder


@dataclass(frozen=True)
class LateInteraction:
    """Late interaction, both sides: documents are encoded as they are now."""

    kind: ClassVar[str] = "late-interaction"
    keeps_index: ClassVar[bool] = False
    encoder: Encoder
    lesson: Lesson
    negatives: str
    max_sim: str = "mean"

    def similarities(self, batch: Sequence[NWay]) -> list[Similarities]:
        """MaxSim, the mean or the sum over the query's tokens."""
        _, queries, keep = encode_with_gradients(self.encoder, self.lesson.query_texts(batch), "query")
        queries = [query[kept] for query, kept in zip(queries, keep, strict=True)]
        groups = [range(len(batch))] if self.negatives == BATCH else [[number] for number in range(len(batch))]
        return [
            similarities
            for group in groups
            for similarities in self._similarities(
                [queries[place] for place in group], [batch[place] for place in group]
            )
        ]

    def _similarities(self, queries: Sequence[torch.Tensor], batch: Sequence[NWay]) -> list[Similarities]:
        place = batch_documents(batch)
        documents = self._documents(list(place))
        with in_float32():
            scores = torch.stack([max_sim(query, *documents, reduce=self.max_sim) for query in queries])
        return by_example(scores[None], batch, place, self.lesson, self.negatives)

    def _documents(self, doc_ids: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """((sum of lengths, dim) token vectors of these documents, (n_docs,) lengths)."""
        _, tokens, keep = encode_with_gradients(self.encoder, self.lesson.document_texts(doc_ids), "document")
        return tokens[keep], keep.sum(dim=1)

    def penalty(self) -> float:
        """None."""
        return 0.0


class LateInteractionQuery(LateInteraction):
    """The same, query encoder only: the token vectors of documents are those of the index."""

    keeps_index: ClassVar[bool] = True

    def _documents(self, doc_ids: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        vectors, starts = self.lesson.vectors.gather([self.lesson.ids.row[doc_id] for doc_id in doc_ids])
        lengths = torch.diff(torch.from_numpy(starts), append=torch.tensor([len(vectors)]))
        device = self.encoder.model.device
        return torch.from_numpy(vectors).to(device), lengths.to(device)


def max_sim(
    query: torch.Tensor, documents: torch.Tensor, lengths: torch.Tensor, *, reduce: str = "mean"
) -> torch.Tensor:
    """(n_docs,) the best match of each of the query's tokens in each document: their mean, or their sum.

    query: (n_query_tokens, dim); documents: (sum of lengths, dim), one document after the other.
    """
    n_docs = len(lengths)
    document_of_token = torch.repeat_interleave(torch.arange(n_docs, device=query.device), lengths)
    similarity = query @ documents.T  # (n_query_tokens, all document tokens)
    best = torch.full((len(query), n_docs), -2.0, device=query.device, dtype=similarity.dtype)
    best = best.scatter_reduce(1, document_of_token.expand(len(query), -1), similarity, "amax")
    return best.sum(dim=0) if reduce == "sum" else best.mean(dim=0)
