"""A system: candidates from its sources, scores from its weighted members, one ranking.

BM25, dense, late interaction and every hybrid of them are this one thing with other sources and weights. Each
candidate is scored by every member, never filled in with a zero, then scores are brought to [0, 1] per query and
member (minimum-maximum over the candidates) and added with the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from acclimate.base.files import fingerprint
from acclimate.records import Query, ScoredDoc
from acclimate.search.members import LEXICAL, Ids, Member, View

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUERIES_AT_ONCE = 256


class Candidates(NamedTuple):
    """The docs found for one query and what each member thinks of them."""

    query: Query
    rows: NDArray[np.int64]  # (n,)
    scores: dict[str, NDArray[np.float32]]  # member -> (n,), raw
    documents: NDArray[np.int64] | None = None  # (n,) the row that stands for each one's document; None: its own
    places: NDArray[np.int64] | None = None  # (n,) of each one's document among the sorted ids; None: as the rows
    named: Mapping[str, NDArray[np.int64]] | None = None  # source -> the rows that it named

    def at(self, places: NDArray[np.int64]) -> Candidates:
        """The candidates in these places."""
        return self._replace(
            rows=self.rows[places],
            scores={name: scores[places] for name, scores in self.scores.items()},
            documents=None if self.documents is None else self.documents[places],
            places=None if self.places is None else self.places[places],
        )

    def of(self, sources: Sequence[str]) -> Candidates:
        """Those that these sources named: the candidates of a system that has no others."""
        named = self.named or {}
        return self.at(np.flatnonzero(np.isin(self.rows, np.concatenate([named[name] for name in sources]))))


@dataclass(frozen=True)
class System:
    """A retriever made of members. `sources` name candidates, `depth` each; `weights` order them."""

    ids: Ids
    members: Mapping[str, Member]
    sources: Sequence[str]
    weights: Mapping[str, float]
    depth: int = 100

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
        found: list[ScoredDoc] = []
        for query, views in self._views(queries):
            hits: list[ScoredDoc] = []
            known, depth = np.empty(0, dtype=np.int64), self.depth
            while True:
                candidates = self._candidates(query, views, depth, known)
                hits += self._ranked(candidates, below=hits[-1].score if hits else None)
                named = (candidates.named or {}).values()
                if len(hits) >= k or all(len(rows) < depth for rows in named):
                    break
                known, depth = np.concatenate([known, candidates.rows]), 2 * depth
            found += hits[:k]
        return found

    def candidates(self, queries: Sequence[Query], also: Sequence[int] = ()) -> Iterator[Candidates]:
        """Query by query: the union of the sources' best, in row order, scored by the weighted members.

        also: no rows, or one of each query, which joins them whether it was named or not.
        """
        nothing = np.empty(0, dtype=np.int64)
        for at, (query, views) in enumerate(self._views(queries)):
            yield self._candidates(query, views, self.depth, nothing, also[at : at + 1])

    def _views(self, queries: Sequence[Query]) -> Iterator[tuple[Query, dict[str, View]]]:
        """Each query as the sources and the weighted members see it."""
        names = dict.fromkeys([*self.sources, *(name for name, weight in self.weights.items() if weight)])
        members = {name: self.members[name] for name in names}
        encoders = {id(member.encoder): member.encoder for member in members.values() if member.encoder is not None}
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            block = queries[start : start + _QUERIES_AT_ONCE]
            vectors = {key: encoder.encode([q.text for q in block]) for key, encoder in encoders.items()}
            for at, query in enumerate(block):
                yield (
                    query,
                    {
                        name: member.view(
                            query, vectors[id(member.encoder)][at] if member.encoder is not None else None
                        )
                        for name, member in members.items()
                    },
                )

    def _candidates(
        self, query: Query, views: Mapping[str, View], depth: int, known: NDArray[np.int64], also: Sequence[int] = ()
    ) -> Candidates:
        """The union of the sources' best `depth` without the rows that are `known`, and the rows `also`."""
        named = {
            name: self.ids.best(
                views[name].all_scores(), depth, above=0.0 if isinstance(self.members[name], LEXICAL) else None
            )
            for name in self.sources
        }
        rows = np.setdiff1d(np.concatenate([*named.values(), np.array(also, dtype=np.int64)]), known)
        scores = {name: view.scores(rows) for name, view in views.items()}
        documents = self.ids.documents
        return Candidates(
            query,
            rows,
            scores,
            None if documents is None else documents[rows],
            self.ids.document_rank[rows],
            named,
        )

    def _ranked(self, candidates: Candidates, below: float | None) -> list[ScoredDoc]:
        """The candidates, best first; where they would reach the score `below`, all are moved beneath it."""
        total = fuse(candidates, self.weights).astype(np.float64)
        if below is not None and len(total) and total.max() >= below:
            total += below - 1 - total.max()
        query_id, doc_ids = candidates.query.query_id, self.ids.doc_ids
        order = self.ids.order(total, candidates.rows)
        return [ScoredDoc(query_id, doc_ids[candidates.rows[at]], float(total[at])) for at in order]


def fuse(candidates: Candidates, weights: Mapping[str, float]) -> NDArray[np.float32]:
    """(n,) the weighted sum of each member's scores; one member alone keeps its own scale."""
    names = sorted(name for name, weight in weights.items() if weight)  # in one order: sums are rounded
    if len(names) == 1:
        return candidates.scores[names[0]]
    total = np.zeros(len(candidates.rows), dtype=np.float32)
    for name in names:
        total += np.float32(weights[name]) * min_max(candidates.scores[name])
    return total


def min_max(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores of one query brought to [0, 1]; all 0 when they do not differ."""
    if not len(scores):
        return scores
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)
