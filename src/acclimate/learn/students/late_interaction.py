"""Late-interaction students: a text is a vector per token, and a document's score MaxSim (arXiv 2004.12832)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import log_softmax

from acclimate.learn.students.encoding import encode_with_gradients
from acclimate.learn.students.lesson import Lesson
from acclimate.records import NWay
from acclimate.search.encoder import Encoder


@dataclass(frozen=True)
class LateInteraction:
    """Late interaction, both sides: a softmax over the example's documents, encoded as they are now."""

    kind: ClassVar[str] = "late-interaction"
    keeps_index: ClassVar[bool] = False
    sees_corpus: ClassVar[bool] = False
    encoder: Encoder
    lesson: Lesson
    temperature: float

    def log_probs(self, batch: Sequence[NWay]) -> list[torch.Tensor]:
        """Per example: (n_ways,) log-probabilities of its documents."""
        _, queries, keep = encode_with_gradients(self.encoder, self.lesson.query_texts(batch), "query")
        logs: list[torch.Tensor] = []
        for query, kept, example in zip(queries, keep, batch, strict=True):
            scores = max_sim(query[kept], *self._documents(example))
            logs.append(log_softmax(scores / self.temperature, dim=-1))
        return logs

    def _documents(self, example: NWay) -> tuple[torch.Tensor, torch.Tensor]:
        """((sum of lengths, dim) token vectors of its documents, (n_ways,) lengths)."""
        _, tokens, keep = encode_with_gradients(self.encoder, self.lesson.document_texts(example.doc_ids), "document")
        return tokens[keep], keep.sum(dim=1)

    def penalty(self) -> float:
        """None."""
        return 0.0


class LateInteractionQuery(LateInteraction):
    """The same, query encoder only: the token vectors of documents are those of the index."""

    keeps_index: ClassVar[bool] = True

    def _documents(self, example: NWay) -> tuple[torch.Tensor, torch.Tensor]:
        vectors, starts = self.lesson.vectors.gather(self.lesson.rows(example))
        lengths = torch.diff(torch.from_numpy(starts), append=torch.tensor([len(vectors)]))
        device = self.encoder.model.device
        return torch.from_numpy(vectors).to(device), lengths.to(device)


def max_sim(query: torch.Tensor, documents: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(n_docs,) mean over the query's tokens of the best match in each document.

    query: (n_query_tokens, dim); documents: (sum of lengths, dim), one document after the other.
    """
    n_docs = len(lengths)
    document_of_token = torch.repeat_interleave(torch.arange(n_docs, device=query.device), lengths)
    similarity = query @ documents.T  # (n_query_tokens, all document tokens)
    best = torch.full((len(query), n_docs), -2.0, device=query.device, dtype=similarity.dtype)
    return best.scatter_reduce(1, document_of_token.expand(len(query), -1), similarity, "amax").mean(dim=0)
