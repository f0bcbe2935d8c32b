"""Members of a system: they find candidates, score them, or both, by one view per query.

BM25 and dense members score every document and can find candidates; late interaction only scores those of others. Rows
are positions in the corpus; ids are looked up last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from acclimate.base.digests import fingerprint
from acclimate.corpus.doc_ids import DocIds, ascending
from acclimate.records import Query

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.search.approximate import ApproximateIndex
    from acclimate.search.bm25 import BM25
    from acclimate.search.encoded import Encoded, QueryEncoder
    from acclimate.search.sparse import SparseIndex
    from acclimate.search.sparse_query import SparseQuery
    from acclimate.search.vectors import Vectors


class View(Protocol):
    """One query as seen by one member."""

    def pool(self, depth: int) -> NDArray[np.int64] | None:
        """Rows that contain the `depth` best documents; None: any row may."""
        ...

    def all_scores(self) -> NDArray[np.float32]:
        """(n_docs,) scores of every document."""
        ...

    def begin(self, rows: NDArray[np.int64]) -> None:
        """Start scoring these documents, if that can run on a device in the background."""
        ...

    def scores(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n_rows,) scores of these documents."""
        ...


class SharedViews(Protocol):
    """Views of the current queries by any members: see `views.Views`."""

    def of(self, queries: Sequence[Query], members: Mapping[str, Member]) -> list[dict[str, Any]]: ...


class Member(Protocol):
    """A way to score documents. `encoder` makes the query vectors that it needs, if any."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def encoder(self) -> QueryEncoder | None: ...

    def views(self, queries: Sequence[Query], encoded: Sequence[Encoded], others: SharedViews) -> list[View]:
        """One view per query. encoded: output of `encoder` for each; empty if there is none. others: for members that
        ask other members."""
        ...


@dataclass(frozen=True)
class KnownScores:
    """A view with precomputed scores of every document."""

    values: NDArray[np.float32]

    def pool(self, depth: int) -> None:
        """Any row."""

    def all_scores(self) -> NDArray[np.float32]:
        return self.values

    def begin(self, rows: NDArray[np.int64]) -> None:
        """Nothing to do."""

    def scores(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.values[rows]


@dataclass(frozen=True)
class BM25Member:
    """BM25 scores, unbounded above; 0 if no term is shared."""

    index: BM25
    encoder: None = None

    @property
    def fingerprint(self) -> str:
        return self.index.fingerprint

    def views(self, queries: Sequence[Query], encoded: Sequence[Encoded], others: SharedViews) -> list[View]:
        return [KnownScores(self.index.scores(query.text)) for query in queries]


@dataclass(frozen=True)
class _CosineView:
    """A view that computes cosines on demand, and finds the nearest by an approximate index."""

    vectors: Vectors
    approximate: ApproximateIndex
    query: NDArray[np.float32]

    def pool(self, depth: int) -> NDArray[np.int64] | None:
        return self.approximate.pool(self.query, depth)

    def all_scores(self) -> NDArray[np.float32]:
        return self.scores(np.arange(len(self.vectors.pooled)))

    def begin(self, rows: NDArray[np.int64]) -> None:
        """Nothing to do."""

    def scores(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.vectors.cosines(self.query, rows)


@dataclass(frozen=True)
class DenseMember:
    """Exact cosines of pooled vectors, in [-1, 1]; found among all documents or by an approximate index."""

    vectors: Vectors
    encoder: QueryEncoder

    @property
    def fingerprint(self) -> str:
        return fingerprint("dense", self.encoder.fingerprint)

    def views(self, queries: Sequence[Query], encoded: Sequence[Encoded], others: SharedViews) -> list[View]:
        if self.vectors.approximate is not None:
            return [_CosineView(self.vectors, self.vectors.approximate, of_query.pooled) for of_query in encoded]
        scores = self.vectors.dense_scores(np.stack([of_query.pooled for of_query in encoded]))
        return [KnownScores(of_query) for of_query in scores]


class _MaxSimView:
    """A view that computes MaxSim on demand and remembers it."""

    def __init__(self, vectors: Vectors, tokens: NDArray[np.float32]) -> None:
        self.vectors, self.tokens = vectors, tokens
        self._rows = np.empty(0, np.int64)  # scored so far, ascending
        self._values = np.empty(0, np.float32)
        self._begun: list[tuple[NDArray[np.int64], Callable[[], NDArray[np.float32]]]] = []

    def pool(self, depth: int) -> None:
        """Any row."""

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
    """Exact MaxSim over token vectors, averaged over the query's tokens, in [-1, 1]; for candidates only."""

    vectors: Vectors
    encoder: QueryEncoder

    @property
    def fingerprint(self) -> str:
        return fingerprint("late-interaction", self.encoder.fingerprint)

    def views(self, queries: Sequence[Query], encoded: Sequence[Encoded], others: SharedViews) -> list[View]:
        return [_MaxSimView(self.vectors, of_query.tokens) for of_query in encoded]


@dataclass(frozen=True)
class SparseMember:
    """Exact learned sparse scores of every document; 0 if no token is shared."""

    index: SparseIndex
    query: SparseQuery
    encoder: None = None

    @property
    def fingerprint(self) -> str:
        return fingerprint("sparse", self.query.fingerprint, self.index.fingerprint)

    def views(self, queries: Sequence[Query], encoded: Sequence[Encoded], others: SharedViews) -> list[View]:
        return [KnownScores(self.index.scores(*self.query(query.text))) for query in queries]


LEXICAL = (BM25Member, SparseMember)  # a document with score 0 counts as not found


class Ids:
    """Ids of a corpus by row, the order of ties, and which rows are passages of one document."""

    def __init__(self, doc_ids: Sequence[str], parents: Mapping[str, str] | None = None) -> None:
        """doc_ids: a sequence, possibly a corpus's, which stays on disk. parents: passage id -> document id."""
        self.doc_ids: DocIds | list[str] = doc_ids if isinstance(doc_ids, DocIds) else list(doc_ids)
        self.parents = parents or {}

    def __len__(self) -> int:
        return len(self.doc_ids)

    @cached_property
    def row(self) -> Mapping[str, int]:
        """id -> row."""
        if isinstance(self.doc_ids, DocIds):
            return self.doc_ids.rows
        return {doc_id: row for row, doc_id in enumerate(self.doc_ids)}

    @cached_property
    def document_row(self) -> Mapping[str, int]:
        """Document id -> its row, or that of its first passage."""
        if not self.parents:
            return self.row
        rows: dict[str, int] = {}
        for row, doc_id in enumerate(self.doc_ids):
            rows.setdefault(self.parents.get(doc_id, doc_id), row)
        return rows

    @cached_property
    def documents(self) -> NDArray[np.int64] | None:
        """(n_docs,) the row that represents each row's document; None if every row is a document."""
        if not self.parents:
            return None
        return np.array([self.document_row[self.parents.get(doc_id, doc_id)] for doc_id in self.doc_ids], np.int64)

    @cached_property
    def rank(self) -> NDArray[np.int64]:
        """(n_docs,) rank of each row's id in sorted order, to break ties independently of corpus order."""
        rank = np.empty(len(self), dtype=np.int64)
        rank[ascending(self.doc_ids)] = np.arange(len(self))
        return rank

    @cached_property
    def document_rank(self) -> NDArray[np.int64]:
        """(n_docs,) rank of each row's document id in sorted order."""
        if not self.parents:
            return self.rank
        names = [self.parents.get(doc_id, doc_id) for doc_id in self.doc_ids]
        places = {name: place for place, name in enumerate(sorted(set(names)))}
        return np.array([places[name] for name in names], np.int64)

    def documents_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
        """(n,) representative rows of the rows' documents, or None if their own; (n,) ranks of their ids."""
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
        """Rows of the `depth` best scores, best first, ties by id; only scores above `above`.

        rows: the rows that scores belong to; None: every document.
        """
        if depth < len(scores):
            places = np.flatnonzero(scores >= np.partition(scores, -depth)[-depth])  # all that tie with the last one
        else:
            places = np.arange(len(scores))
        if above is not None:
            places = places[scores[places] > above]
        best = places if rows is None else rows[places]
        return best[self.order(scores[places], best)][:depth]
