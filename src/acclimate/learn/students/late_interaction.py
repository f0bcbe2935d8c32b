"""Late-interaction students: a text is a vector per token, and a document's score MaxSim (arXiv 2004.12832)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch

from acclimate.learn.students.encoding import encode_with_gradients, in_float32
from acclimate.learn.students.lesson import BATCH, Lesson, batch_documents
from acclimate.learn.students.similarities import Comparison, Similarities, alone, comparison, of_one_form
from acclimate.learn.students.token_vectors import ReadTokens, TokenVectors, document_of_token
from acclimate.records import NWay
from acclimate.search.encoded import Tokens
from acclimate.search.encoder import Encoder


class Texts(NamedTuple):
    """What late-interaction students read of a batch."""

    queries: Sequence[Tokens]
    documents: list[Any]  # those of the batch; or those of each query, whose softmax no others share
    comparison: Comparison | None  # of those of the batch
    forms: list[list[int]]  # see `of_one_form`


@dataclass(frozen=True)
class LateInteraction:
    """Late interaction, both sides: documents are encoded as they are now."""

    kind: ClassVar[str] = "late-interaction"
    keeps_index: ClassVar[bool] = False
    encoder: Encoder
    lesson: Lesson
    negatives: str
    max_sim: str = "mean"

    def read(self, batch: Sequence[NWay]) -> Texts:
        """The tokens of queries, and the tokens of documents or their vectors."""
        queries = self.encoder.tokenize(self.lesson.query_texts(batch), "query")
        forms = of_one_form(batch)
        if self.negatives != BATCH:
            return Texts(queries, [self._read(example.doc_ids) for example in batch], None, forms)
        place = batch_documents(batch)
        compared = comparison(batch, place, self.lesson, self.negatives)
        return Texts(queries, [self._read(list(place))], compared, forms)

    def similarities(self, read: Texts) -> list[Similarities]:
        """MaxSim, the mean or the sum over the query's tokens."""
        encoded = encode_with_gradients(self.encoder, read.queries, "query")
        queries = encoded.tokens.split(encoded.lengths)
        if read.comparison is not None:
            scores = self._scores(queries, read.documents[0])
            return read.comparison.similarities(scores[None])
        pairs = zip(queries, read.documents, strict=True)
        of_queries = [self._scores([query], documents)[0] for query, documents in pairs]
        return [alone(torch.stack([of_queries[row] for row in rows])[None]) for rows in read.forms]

    def _scores(self, queries: Sequence[torch.Tensor], documents: Any) -> torch.Tensor:
        """(n_queries, n_docs)"""
        tokens, lengths = self._tokens(documents)
        document = document_of_token(lengths)
        with in_float32():
            return torch.stack(
                [max_sim(query, tokens, document, len(lengths), reduce=self.max_sim) for query in queries]
            )

    def _read(self, doc_ids: Sequence[str]) -> Any:
        """What `_tokens` takes of these documents."""
        return self.encoder.tokenize(self.lesson.document_texts(doc_ids), "document")

    def _tokens(self, documents: Any) -> tuple[torch.Tensor, list[int]]:
        """((sum of lengths, dim) token vectors of these documents, their lengths)."""
        _, tokens, lengths = encode_with_gradients(self.encoder, documents, "document")
        return tokens, lengths

    def penalty(self) -> float:
        """None."""
        return 0.0


@dataclass(frozen=True)
class LateInteractionQuery(LateInteraction):
    """The same, query encoder only: the token vectors of documents are those of the index."""

    keeps_index: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._index  # noqa: B018 (which may take vectors to a GPU: no work for a thread that reads)

    @cached_property
    def _index(self) -> TokenVectors:
        return TokenVectors(self.lesson.vectors)

    def _read(self, doc_ids: Sequence[str]) -> ReadTokens:
        return self._index.read([self.lesson.ids.row[doc_id] for doc_id in doc_ids])

    def _tokens(self, documents: ReadTokens) -> tuple[torch.Tensor, list[int]]:
        return self._index.vectors_of(documents), documents.lengths


def max_sim(
    query: torch.Tensor, documents: torch.Tensor, document: torch.Tensor, n_docs: int, *, reduce: str = "mean"
) -> torch.Tensor:
    """(n_docs,) the best match of each of the query's tokens in each document: their mean, or their sum.

    query: (n_query_tokens, dim); documents: (n_tokens, dim); document: (n_tokens,) whose each of these tokens is.
    """
    similarity = query @ documents.T  # (n_query_tokens, n_tokens)
    best = torch.full((len(query), n_docs), -2.0, device=query.device, dtype=similarity.dtype)
    best = best.scatter_reduce(1, document.expand(len(query), -1), similarity, "amax")
    return best.sum(dim=0) if reduce == "sum" else best.mean(dim=0)
