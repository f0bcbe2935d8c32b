"""Late-interaction students: one vector per token, scored by MaxSim (arXiv 2004.12832)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch

from acclimate.learn.students.choices import BATCH
from acclimate.learn.students.encoding import encode_with_gradients, in_float32
from acclimate.learn.students.similarities import Comparison, Similarities, alone, comparison, shape_groups
from acclimate.learn.students.token_vectors import ReadTokens, TokenVectors, document_of_token
from acclimate.learn.students.training_data import TrainingData, batch_documents
from acclimate.records import NWay
from acclimate.search.encoded import Tokens
from acclimate.search.encoder import Encoder


class Texts(NamedTuple):
    """A batch as late-interaction students read it."""

    queries: Sequence[Tokens]
    documents: list[Any]  # all of the batch as one; or those of each list, if that is how they are read
    places: list[list[int]]  # of each list's documents among all of the batch
    comparison: Comparison | None  # of the batch's documents; None if each list has its own softmax
    groups: list[list[int]]  # see `similarities.shape_groups`


@dataclass(frozen=True)
class LateInteraction:
    """Late interaction with both encoders trained: the batch's documents are encoded in each step."""

    kind: ClassVar[str] = "late-interaction"
    keeps_index: ClassVar[bool] = False
    encoder: Encoder
    data: TrainingData
    negatives: str
    max_sim: str = "mean"

    def read(self, batch: Sequence[NWay]) -> Texts:
        """Tokens of queries, and tokens or vectors of documents."""
        queries = self.encoder.tokenize(self.data.query_texts(batch), "query")
        place = batch_documents(batch)
        places = [[place[doc_id] for doc_id in example.doc_ids] for example in batch]
        if self.negatives != BATCH:
            return Texts(queries, self._read_lists(batch), places, None, shape_groups(batch))
        compared = comparison(batch, place, self.data, self.negatives)
        return Texts(queries, [self._read(list(place))], places, compared, shape_groups(batch))

    def similarities(self, read: Texts) -> list[Similarities]:
        """MaxSim, as mean or sum over the query's tokens."""
        encoded = encode_with_gradients(self.encoder, read.queries, "query")
        queries = encoded.tokens.split(encoded.lengths)
        if read.comparison is not None:
            scores = self._scores(queries, *self._tokens(read.documents[0]))
            return read.comparison.similarities(scores[None])
        pairs = zip(queries, self._of_lists(read), strict=True)
        of_queries = [self._scores([query], *documents)[0] for query, documents in pairs]
        return [alone(torch.stack([of_queries[row] for row in rows])[None]) for rows in read.groups]

    def _scores(self, queries: Sequence[torch.Tensor], tokens: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        """(n_queries, n_docs) of documents with these token vectors, `lengths` of each."""
        document = document_of_token(lengths)
        with in_float32():
            return torch.stack(
                [max_sim(query, tokens, document, len(lengths), reduce=self.max_sim) for query in queries]
            )

    def _read_lists(self, batch: Sequence[NWay]) -> list[Any]:
        """All documents of a batch as one: they are encoded once, and in the memory of one group of texts."""
        return [self._read(list(batch_documents(batch)))]

    def _of_lists(self, read: Texts) -> Iterator[tuple[torch.Tensor, list[int]]]:
        """`_tokens` of each list's documents."""
        tokens, lengths = self._tokens(read.documents[0])
        of_documents = tokens.split(lengths)
        for places in read.places:
            yield torch.cat([of_documents[place] for place in places]), [lengths[place] for place in places]

    def _read(self, doc_ids: Sequence[str]) -> Any:
        """Input of `_tokens` for these documents."""
        return self.encoder.tokenize(self.data.document_texts(doc_ids), "document")

    def _tokens(self, documents: Any) -> tuple[torch.Tensor, list[int]]:
        """((sum of lengths, dim) token vectors of these documents, their lengths)."""
        _, tokens, lengths = encode_with_gradients(self.encoder, documents, "document")
        return tokens, lengths

    def penalty(self) -> float:
        """None."""
        return 0.0


@dataclass(frozen=True)
class LateInteractionQuery(LateInteraction):
    """Late interaction with the query encoder trained: documents keep the index's token vectors."""

    keeps_index: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._index  # noqa: B018 (which may take vectors to a GPU: no work for a thread that reads)

    @cached_property
    def _index(self) -> TokenVectors:
        return TokenVectors(self.data.vectors)

    def _read_lists(self, batch: Sequence[NWay]) -> list[ReadTokens]:
        """The documents of each list, whose vectors cost nothing."""
        return [self._read(example.doc_ids) for example in batch]

    def _of_lists(self, read: Texts) -> Iterator[tuple[torch.Tensor, list[int]]]:
        return map(self._tokens, read.documents)

    def _read(self, doc_ids: Sequence[str]) -> ReadTokens:
        return self._index.read([self.data.ids.row[doc_id] for doc_id in doc_ids])

    def _tokens(self, documents: ReadTokens) -> tuple[torch.Tensor, list[int]]:
        return self._index.vectors_of(documents), documents.lengths


def max_sim(
    query: torch.Tensor, documents: torch.Tensor, document: torch.Tensor, n_docs: int, *, reduce: str = "mean"
) -> torch.Tensor:
    """(n_docs,) mean, or sum, over the query's tokens of the best match in each document.

    query: (n_query_tokens, dim); documents: (n_tokens, dim); document: (n_tokens,) the document of each token.
    """
    similarity = query @ documents.T  # (n_query_tokens, n_tokens)
    best = torch.full((len(query), n_docs), -2.0, device=query.device, dtype=similarity.dtype)
    best = best.scatter_reduce(1, document.expand(len(query), -1), similarity, "amax")
    return best.sum(dim=0) if reduce == "sum" else best.mean(dim=0)
