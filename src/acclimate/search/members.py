"""What a system is made of: members that find candidates, members that score them, a view of each query.

BM25 and dense members know every document's score and so can name candidates; late interaction only scores what
others name. Rows are positions in the corpus; ids come back at the very end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from acclimate.base.digests import fingerprint
from acclimate.corpus.doc_ids import DocIds, ascending
from acclimate.records import Query

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.search.approximate import ApproximateIndex
    from acclimate.search.bm25 import BM25
    from acclimate.search.encoded import Encoded, QueryEncoder
    from acclimate.search.sparse import SparseIndex, SparseQuery
    from acclimate.search.vectors import Vectors


class View(Protocol):
    """One query as one member sees it."""

    def pool(self, depth: int) -> NDArray[np.int64] | None:
        """The rows among which the `depth` best documents are; None: they can be anywhere."""
        ...

    def all_scores(self) -> NDArray[np.float32]:
        """(n_docs,) scores of every document."""
        ...

    def begin(self, rows: NDArray[np.int64]) -> None:
        """Begin to score these documents, which will be asked for, where that does not wait for a device."""
        ...

    def scores(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n_rows,) scores of these documents."""
        ...


class Member(Protocol):
    """A way to score documents. `encoder` is the one whose vectors of the query it needs, if any."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def encoder(self) -> QueryEncoder | None: ...

    def views(self, queries: Sequence[Query], encoded: Sequence[Encoded]) -> list[View]:
        """One for each query. encoded: what `encoder` makes of each; nothing where there is none."""
        ...


@dataclass(frozen=True)
class _AllScores:
    """A view over scores that are known for every document."""

    values: NDArray[np.float32]

    def pool(self, depth: int) -> None:
        """Anywhere."""

    def all_scores(self) -> NDArray[np.float32]:
        return self.values

    def begin(self, rows: NDArray[np.int64]) -> None:
        """They are known."""

    def scores(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.values[rows]


@dataclass(frozen=True)
class BM25Member:
    """BM25 scores, unbounded above, 0 where no word is shared."""

    index: BM25
    encoder: None = None

    @property
    def fingerprint(self) -> str:
        return self.index.fingerprint

    def views(self, queries: Sequence[Query], encoded: Sequence[Encoded]) -> list[View]:
        return [_AllScores(self.index.scores(query.text)) for query in queries]


@dataclass(frozen=True)
class _Cosines:
    """A view that compares a document with the query when it is asked about it, and asks an index for the nearest."""

    vectors: Vectors
    approximate: ApproximateIndex
    query: NDArray[np.float32]

    def pool(self, depth: int) -> NDArray[np.int64] | None:
        return self.approximate.pool(self.query, depth)

    def all_scores(self) -> NDArray[np.float32]:
        return self.scores(np.arange(len(self.vectors.pooled)))

    def begin(self, rows: NDArray[np.int64]) -> None:
        """It takes no device."""

    def scores(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.vectors.cosines(self.query, rows)


@dataclass(frozen=True)
class DenseMember:
    """Cosine of pooled vectors, in [-1, 1]; exact. The best are sought among all documents, or by their approximate
    index where they have one."""

    vectors: Vectors
    encoder: QueryEncoder

    @property
    def fingerprint(self) -> str:
        return fingerprint("dense", self.encoder.fingerprint)

    def views(self, queries: Sequence[Query], encoded: Sequence[Encoded]) -> list[View]:
        if self.vectors.approximate is not None:
            return [_Cosines(self.vectors, self.vectors.approximate, of_query.pooled) for of_query in encoded]
        scores = self.vectors.dense_scores(np.stack([of_query.pooled for of_query in encoded]))
        return [_AllScores(of_query) for of_query in scores]


class _MaxSim:
    """A view that compares a document with the query when it is first asked about it."""

    def __init__(self, vectors: Vectors, tokens: NDArray[np.float32]) -> None:
        self.vectors, self.tokens = vectors, tokens
        self._rows = np.empty(0, np.int64)  # compared so far, ascending
        self._values = np.empty(0, np.float32)
        self._begun: list[tuple[NDArray[np.int64], Callable[[], NDArray[np.float32]]]] = []

    def pool(self, depth: int) -> None:
        """Anywhere."""

    def all_scores(self) -> NDArray[np.float32]:
        return self.scores(np.arange(len(self.vectors.pooled)))

    def begin(self, rows: NDArray[np.int64]) -> None:
        fresh = np.setdiff1d(rows, np.concatenate([self._rows, *(begun for begun, _ in self._begun)]))
        if len(fresh):
            self._begun.append((fresh, self.vectors.begin_max_sim(self.tokens, fresh)))

    def scores(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        self.begin(rows)
        if self._begun:
            known = np.concatenate([self._rows, *(begun for begun, _ in self._begun)])
            values = np.concatenate([self._values, *(compared() for _, compared in self._begun)])
            order = np.argsort(known)
            self._rows, self._values = known[order], values[order]
            self._begun.clear()
        return self._values[np.searchsorted(self._rows, rows)]


@dataclass(frozen=True)
class LateInteractionMember:
    """MaxSim over token vectors, averaged over the query's tokens, in [-1, 1]; exact, over the candidates."""

    vectors: Vectors
    encoder: QueryEncoder

    @property
    def fingerprint(self) -> str:
        return fingerprint("late-interaction", self.encoder.fingerprint)

    def views(self, queries: Sequence[Query], encoded: Sequence[Encoded]) -> list[View]:
        return [_MaxSim(self.vectors, of_query.tokens) for of_query in encoded]


@dataclass(frozen=True)
class SparseMember:
    """Learned sparse scores, 0 where no token is shared; exact, over every document."""

    index: SparseIndex
    query: SparseQuery
    encoder: None = None

    @property
    def fingerprint(self) -> str:
        return fingerprint("sparse", self.query.fingerprint, self.index.fingerprint)

    def views(self, queries: Sequence[Query], encoded: Sequence[Encoded]) -> list[View]:
        return [_AllScores(self.index.scores(*self.query(query.text))) for query in queries]


LEXICAL = (BM25Member, SparseMember)  # a document with a score of 0 was not found


class Ids:
    """The ids of a corpus by row, the order in which ties are broken, and which rows are passages of one document."""

    def __init__(self, doc_ids: Sequence[str], parents: Mapping[str, str] | None = None) -> None:
        """doc_ids: as they are, or those of a corpus, which stay in its file. parents: passage id -> id of the document
        that it was split from, where there are passages."""
        self.doc_ids: DocIds | list[str] = doc_ids if isinstance(doc_ids, DocIds) else list(doc_ids)
        self.parents = parents or {}

    def __len__(self) -> int:
        return len(self.doc_ids)

    @cached_property
    def row(self) -> Mapping[str, int]:
        """Id -> row."""
        if isinstance(self.doc_ids, DocIds):
            return self.doc_ids.rows
        return {doc_id: row for row, doc_id in enumerate(self.doc_ids)}

    @cached_property
    def document_row(self) -> Mapping[str, int]:
        """Id of a document -> its row, or that of its first passage, which stands for all of them."""
        if not self.parents:
            return self.row
        rows: dict[str, int] = {}
        for row, doc_id in enumerate(self.doc_ids):
            rows.setdefault(self.parents.get(doc_id, doc_id), row)
        return rows

    @cached_property
    def documents(self) -> NDArray[np.int64] | None:
        """(n_docs,) the row that stands for each row's document; None when every row is one."""
        if not self.parents:
            return None
        return np.array([self.document_row[self.parents.get(doc_id, doc_id)] for doc_id in self.doc_ids], np.int64)

    @cached_property
    def rank(self) -> NDArray[np.int64]:
        """(n_docs,) the place of each row's id among the sorted ids: ties do not depend on the corpus' order."""
        rank = np.empty(len(self), dtype=np.int64)
        rank[ascending(self.doc_ids)] = np.arange(len(self))
        return rank

    @cached_property
    def document_rank(self) -> NDArray[np.int64]:
        """(n_docs,) the place of each row's document among the sorted ids of documents."""
        if not self.parents:
            return self.rank
        names = [self.parents.get(doc_id, doc_id) for doc_id in self.doc_ids]
        places = {name: place for place, name in enumerate(sorted(set(names)))}
        return np.array([places[name] for name in names], np.int64)

    def documents_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
        """(n,) the row that stands for each one's document, None for their own; (n,) its place among the sorted ids."""
        return None if self.documents is None else self.documents[rows], self.document_rank[rows]

    def order(self, scores: NDArray[np.floating], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions in `rows`, best score first, ties by id."""
        return np.lexsort((self.rank[rows], -scores))

    def best(
        self,
        scores: NDArray[np.floating],
        depth: int,
        *,
        above: float | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """The rows of the `depth` best scores, best first, ties by id; none at or below `above`.

        rows: that the scores are of; None: of every document.
        """
        if depth < len(scores):
            places = np.flatnonzero(scores >= np.partition(scores, -depth)[-depth])  # every tie of the last one
        else:
            places = np.arange(len(scores))
        if above is not None:
            places = places[scores[places] > above]
        best = places if rows is None else rows[places]
        return best[self.order(scores[places], best)][:depth]
