"""The source of an export: a finished run, the members of one of its systems, and its documents in parts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from acclimate.base.draw import subset
from acclimate.base.progress import Progress
from acclimate.records import Query, ScoredDoc
from acclimate.search.members import BM25Member, DenseMember, LateInteractionMember, Member, SparseMember
from acclimate.search.names import SystemName
from acclimate.search.system import System
from acclimate.search.systems import of_documents, system_of
from acclimate.search.views import Views
from acclimate.stages.systems import members_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.corpus.documents import Corpus
    from acclimate.run.run import Run
    from acclimate.search.vectors import Vectors
    from acclimate.stages.chain import Outputs

BM25, SPARSE, DENSE, LATE_INTERACTION = "bm25", "sparse", "dense", "late-interaction"  # kinds of members
LEXICAL = (BM25, SPARSE)
PART_DOCS, PART_CHARS = 4096, 1 << 24  # limits of a part
_MOST_QUERIES = 100  # for checking an export


class Document(NamedTuple):
    """A document or passage, as engines store it beside its vectors."""

    number: int  # position of its id among all sorted ids, which breaks ties
    id: str
    document: str  # for a passage the id of its document, else its own
    title: str
    text: str


class Part(NamedTuple):
    """Consecutive documents."""

    number: int  # from 0
    span: slice  # of rows of the index
    documents: list[Document]


class TokenVectors(NamedTuple):
    """Document i has the token vectors `vectors[starts[i]:starts[i + 1]]`, to be multiplied by `scales`."""

    starts: NDArray[np.int64]  # (n_docs + 1,)
    vectors: NDArray[np.int8]  # (n_tokens, dim)
    scales: NDArray[np.float32]  # (n_tokens,)

    def in_bytes(self) -> Iterator[tuple[bytes, bytes]]:
        """Vectors and scales of each document."""
        for span in itertools.starmap(slice, itertools.pairwise(self.starts)):
            yield self.vectors[span].tobytes(), self.scales[span].tobytes()


@dataclass(frozen=True)
class Source:
    """A finished run, and the system to export."""

    run: Run
    outputs: Outputs
    name: SystemName  # requested or recommended; may have a reranker

    @classmethod
    def of(cls, run: Run, outputs: Outputs, system: str | None) -> Source:
        """Raises SettingError for an unknown system, and for a run file from elsewhere, which cannot answer queries."""
        return cls(run, outputs, outputs["evaluate"].servable(system))

    @cached_property
    def system(self) -> System:
        """Members, sources and weights, without a reranker. Members are loaded when first used."""
        members = members_of(self.run, self.outputs.get("distill"))
        weights = self.outputs["evaluate"].chosen.weights[self.name.first]
        return system_of(self.run.base.ids, members, weights, Views())

    @property
    def members(self) -> list[str]:
        """The names of the members that retrieve or score, sources first."""
        return list(dict.fromkeys([*self.system.sources, *self.system.parts]))

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Member -> kind: queries are terms (BM25, SPARSE), a vector (DENSE), or a vector for each token."""
        return {name: _kind(self.system.members[name]) for name in self.members}

    @property
    def corpus(self) -> Corpus:
        """The indexed documents, or passages of them (see `parents`)."""
        return self.run.input.corpus

    @property
    def numbers(self) -> NDArray[np.int64]:
        """(n_docs,) by row, see `Document.number`."""
        return self.system.ids.rank

    def dim(self, name: str) -> int:
        """The dimension of a member's vectors."""
        vectors = _vectors(self.system.members[name])
        return (vectors.pooled if self.kinds[name] == DENSE else vectors.tokens).shape[1]

    def dense_vectors(self, name: str, part: Part) -> NDArray[np.float32]:
        """(n_docs, dim) of a dense member."""
        return np.asarray(_vectors(self.system.members[name]).pooled[part.span], np.float32)

    def token_vectors(self, name: str, part: Part) -> TokenVectors:
        """The token vectors of a late-interaction member."""
        vectors = _vectors(self.system.members[name])
        starts = np.asarray(vectors.offsets[part.span.start : part.span.stop + 1])
        span = slice(starts[0], starts[-1])
        return TokenVectors(starts - starts[0], np.asarray(vectors.tokens[span]), np.asarray(vectors.scales[span]))

    def document(self, doc_id: str) -> str:
        """The id of the document that a passage belongs to; a document's own id."""
        return self.run.input.parents.get(doc_id, doc_id)

    def parts(self) -> Iterator[Part]:
        """The corpus in its order. The boundaries of parts depend on the documents alone."""
        progress = Progress("export", "documents")
        for part in self._parts():
            yield part
            progress(part.span.stop, len(self.corpus))

    def _parts(self) -> Iterator[Part]:
        documents: list[Document] = []
        number = start = stop = n_chars = 0
        for stop, (place, doc) in enumerate(zip(self.numbers.tolist(), self.corpus.values(), strict=True), 1):
            documents.append(Document(place, doc.doc_id, self.document(doc.doc_id), doc.title, doc.text))
            n_chars += len(doc.text)
            if len(documents) == PART_DOCS or n_chars >= PART_CHARS:
                yield Part(number, slice(start, stop), documents)
                number, start, documents, n_chars = number + 1, stop, [], 0
        if documents:
            yield Part(number, slice(start, stop), documents)

    @cached_property
    def queries(self) -> list[Query]:
        """Some of the queries that measure the run."""
        judged = self.outputs["steer"].measuring(self.run, self.outputs["sample"])
        return sorted(subset(judged.queries, _MOST_QUERIES, self.run.seed), key=lambda query: query.query_id)

    def search(self, queries: Sequence[Query], k: int) -> list[ScoredDoc]:
        """The run's own results, with documents in place of passages; best first, ties by doc_id."""
        return of_documents(self.system, self.system.ids).search(queries, k)


def _kind(member: Member) -> str:
    if isinstance(member, BM25Member):
        return BM25
    if isinstance(member, SparseMember):
        return SPARSE
    return LATE_INTERACTION if isinstance(member, LateInteractionMember) else DENSE


def _vectors(member: Member) -> Vectors:
    assert isinstance(member, DenseMember | LateInteractionMember)
    return member.vectors
