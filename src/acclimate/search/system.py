"""A system: candidates from its sources, scores from its weighted members, one ranking.

BM25, dense, late interaction and every hybrid of them are this one thing with other sources and weights. Each
candidate is scored by every member, never filled in with a zero, then scores are brought to [0, 1] per query and
member (minimum-maximum over the candidates) and added with the weights. Without weights the reciprocal ranks that the
sources gave are added, which needs no scores of anybody.

Queries are searched in blocks (see `views`), and what is found for one depends on no other: in training as when a
person asks.
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
from acclimate.search.members import Ids, Member
from acclimate.search.views import Seen, Views, blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class System:
    """A retriever made of members. `sources` name candidates, `depth` each; `weights`, or without them ranks, order.

    views: shared with other systems that answer the same queries, as long as these are asked; None: nothing is.
    within: the rows that a search is about, ascending; None: all.
    """

    ids: Ids
    members: Mapping[str, Member]
    sources: Sequence[str]
    weights: Mapping[str, float]
    depth: int = 100
    views: Views | None = None
    within: NDArray[np.int64] | None = None

    @property
    def parts(self) -> list[str]:
        """The members whose scores, or ranks, order what is found."""
        return [name for name, weight in self.weights.items() if weight] or list(self.sources)

    @property
    def fingerprint(self) -> str:
        names = sorted({*self.sources, *self.weights})
        prints = {name: self.members[name].fingerprint for name in names}
        return fingerprint("system", prints, list(self.sources), dict(self.weights), self.depth)

    def search(self, queries: Sequence[Query], k: int) -> list[ScoredDoc]:
        """At most `k` docs per query, best first, ties by doc_id. A query that matches nothing finds nothing.

        What is best among the candidates does not depend on `k`. Where it asks for more, what the sources name from
        there to twice the depth follows below all of them, in an order of its own, and so on.
        """
        return [hit for query, views in self._seen(queries) for hit in self._search(query, views, k)]

    def _search(self, query: Query, views: Mapping[str, Seen], k: int) -> list[ScoredDoc]:
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

    def candidates(self, queries: Sequence[Query], joined_rows: Sequence[int] = ()) -> Iterator[Candidates]:
        """Query by query: the union of the sources' best, in row order, scored by the weighted members.

        joined_rows: none, or one for each query, which joins what is found for it whether it was named or not.
        """
        for number, (query, views) in enumerate(self._seen(queries)):
            rows_by_source = {name: views[name].named(self.depth, self.ids) for name in self.sources}
            joined = np.array(joined_rows[number : number + 1], dtype=np.int64)
            rows = np.unique(np.concatenate([*rows_by_source.values(), joined]))
            yield self._scored(query, views, rows, rows_by_source)

    def _seen(self, queries: Sequence[Query]) -> Iterator[tuple[Query, dict[str, Seen]]]:
        """Each query, as the sources and the weighted members see it."""
        members = {name: self.members[name] for name in dict.fromkeys([*self.sources, *self.parts])}
        for block in blocks(queries, len(self.ids)):
            views = Views() if self.views is None else self.views
            of_block = views.of(block, members)
            reads = any(member.encoder is not None for member in members.values())
            for _ in (parallel_map if reads else map)(self._begin, of_block):
                pass  # a GPU goes through the block before it is waited for
            yield from zip(block, of_block, strict=True)

    def _begin(self, views: Mapping[str, Seen]) -> None:
        """Begin to score what the sources name for a query."""
        rows = np.unique(np.concatenate([views[name].named(self.depth, self.ids) for name in self.sources]))
        for view in views.values():
            view.begin(rows)

    def _scored(
        self,
        query: Query,
        views: Mapping[str, Seen],
        rows: NDArray[np.int64],
        rows_by_source: Mapping[str, NDArray[np.int64]],
    ) -> Candidates:
        """These rows as candidates of the query, with what each view says of them."""
        scores = {name: view.scores(rows) for name, view in views.items()}
        return Candidates(query, rows, scores, *self.ids.documents_of(rows), rows_by_source)

    def _ranked(self, candidates: Candidates, k: int, below: float | None) -> list[ScoredDoc]:
        """The `k` best candidates, best first; where any would reach the score `below`, all are moved beneath it."""
        total = fuse(candidates, self.weights).astype(np.float64)
        if below is not None and len(total) and total.max() >= below:
            total += below - 1 - total.max()
        query_id, doc_ids = candidates.query.query_id, self.ids.doc_ids
        order = self.ids.order(total, candidates.rows)[:k]
        return [ScoredDoc(query_id, doc_ids[candidates.rows[place]], float(total[place])) for place in order]
