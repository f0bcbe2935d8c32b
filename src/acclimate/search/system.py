"""A retrieval system: sources find candidates, weighted members score them, and the fusion ranks them.

BM25, dense, late interaction and all hybrids are this one class with different sources and weights. Every weighted
member scores every candidate (no zero is filled in); scores are min-max normalized per query and member, and added with
the weights. Without weights, the sources' reciprocal ranks are added, which needs no scores.

Queries are searched in blocks (see `views`); the result for one does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from acclimate.base.cores import parallel_map
from acclimate.base.digests import fingerprint
from acclimate.records import Query, ScoredDoc
from acclimate.search.candidates import Candidates, fuse
from acclimate.search.members import Ids, Member, SharedViews
from acclimate.search.views import CachedView, Views, blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class System:
    """A retriever made of members: `sources` find `depth` candidates each, ordered by `weights` or by ranks.

    views: shared with other systems that answer the same queries at the same time; None: not shared. within: rows to
    search, ascending; None: all.
    """

    ids: Ids
    members: Mapping[str, Member]
    sources: Sequence[str]
    weights: Mapping[str, float]
    depth: int = 100
    views: SharedViews | None = None
    within: NDArray[np.int64] | None = None

    @property
    def parts(self) -> list[str]:
        """The members whose scores, or ranks, order the candidates."""
        return [name for name, weight in self.weights.items() if weight] or list(self.sources)

    @property
    def fingerprint(self) -> str:
        names = sorted({*self.sources, *self.weights})
        prints = {name: self.members[name].fingerprint for name in names}
        return fingerprint("system", prints, list(self.sources), dict(self.weights), self.depth)

    def search(self, queries: Sequence[Query], k: int) -> list[ScoredDoc]:
        """At most `k` docs per query, best first, ties by doc_id; none if nothing matches.

        The order of the first candidates does not depend on `k`: for more, those that the sources find up to twice the
        depth follow below, ordered among themselves, and so on.
        """
        return [hit for query, views in self._seen(queries) for hit in self._search(query, views, k)]

    def _search(self, query: Query, views: Mapping[str, CachedView], k: int) -> list[ScoredDoc]:
        hits = list[ScoredDoc]()
        known, depth = np.empty(0, dtype=np.int64), self.depth
        while True:
            rows_by_source = {name: views[name].named(depth, self.ids, self.within) for name in self.sources}
            rows = np.setdiff1d(np.concatenate([*rows_by_source.values()]), known)
            candidates = self._scored(query, views, rows, rows_by_source)
            hits += self._ranked(candidates, k - len(hits), below=hits[-1].score if hits else None)
            if len(hits) >= k or all(len(named) < depth for named in rows_by_source.values()):
                return hits
            known, depth = np.concatenate([known, rows]), 2 * depth

    def candidates(self, queries: Sequence[Query], extra_rows: Sequence[int] = ()) -> Iterator[Candidates]:
        """Query by query: the union of the sources' best, in row order, scored by the weighted members.

        extra_rows: empty, or one row per query that is added to its candidates whether found or not.
        """
        for number, (query, views) in enumerate(self._seen(queries)):
            rows_by_source = {name: views[name].named(self.depth, self.ids) for name in self.sources}
            joined = np.array(extra_rows[number : number + 1], dtype=np.int64)
            rows = np.unique(np.concatenate([*rows_by_source.values(), joined]))
            yield self._scored(query, views, rows, rows_by_source)

    def _seen(self, queries: Sequence[Query]) -> Iterator[tuple[Query, dict[str, CachedView]]]:
        """Each query with the views of sources and weighted members."""
        members = {name: self.members[name] for name in dict.fromkeys([*self.sources, *self.parts])}
        for block in blocks(queries, len(self.ids)):
            views = Views() if self.views is None else self.views
            of_block = views.of(block, members)
            if self.within is None:  # else other documents are scored
                self._begin_all(of_block, members)
            yield from zip(block, of_block, strict=True)

    def _begin_all(self, of_block: Sequence[Mapping[str, CachedView]], members: Mapping[str, Member]) -> None:
        """Start scoring for each query of a block before the first is waited for.

        On a CPU this is all of the scoring, by a core for each query if vectors are compared.
        """
        compares_vectors = any(member.encoder is not None for member in members.values())
        for _ in (parallel_map if compares_vectors else map)(self._begin, of_block):
            pass

    def _begin(self, views: Mapping[str, CachedView]) -> None:
        """Start scoring the candidates of a query."""
        rows = np.unique(np.concatenate([views[name].named(self.depth, self.ids) for name in self.sources]))
        for view in views.values():
            view.begin(rows)

    def _scored(
        self,
        query: Query,
        views: Mapping[str, CachedView],
        rows: NDArray[np.int64],
        rows_by_source: Mapping[str, NDArray[np.int64]],
    ) -> Candidates:
        """These rows as candidates of the query, scored by each view."""
        scores = {name: view.scores(rows) for name, view in views.items()}
        return Candidates(query, rows, scores, *self.ids.documents_of(rows), rows_by_source)

    def _ranked(self, candidates: Candidates, k: int, below: float | None) -> list[ScoredDoc]:
        """The `k` best candidates, best first; if any would reach the score `below`, all are shifted beneath it."""
        total = fuse(candidates, self.weights).astype(np.float64)
        if below is not None and len(total) and total.max() >= below:
            total += below - 1 - total.max()
        query_id, doc_ids = candidates.query.query_id, self.ids.doc_ids
        order = self.ids.order(total, candidates.rows)[:k]
        return [ScoredDoc(query_id, doc_ids[candidates.rows[place]], float(total[place])) for place in order]
