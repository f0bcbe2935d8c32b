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

from acclimate.files import fingerprint
from acclimate.records import Query, ScoredDoc
from acclimate.retrieve.members import LEXICAL, Ids, Member

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUERIES_AT_ONCE = 256


class Candidates(NamedTuple):
    """The docs found for one query and what each member thinks of them."""

    query: Query
    rows: NDArray[np.int64]  # (n,)
    scores: dict[str, NDArray[np.float32]]  # member -> (n,), raw
    documents: NDArray[np.int64] | None = None  # (n,) the row that stands for each one's document; None: its own


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
        """At most `k` docs per query, best first, ties by doc_id. A query that matches nothing finds nothing."""
        found: list[ScoredDoc] = []
        for candidates in self.candidates(queries, depth=max(self.depth, k)):
            total = fuse(candidates, self.weights)
            for at in self.ids.order(total, candidates.rows)[:k]:
                row = candidates.rows[at]
                found.append(ScoredDoc(candidates.query.query_id, self.ids.doc_ids[row], float(total[at])))
        return found

    def candidates(self, queries: Sequence[Query], *, depth: int | None = None) -> Iterator[Candidates]:
        """Query by query: the union of the sources' best `depth`, in row order, scored by the weighted members."""
        names = dict.fromkeys([*self.sources, *(name for name, weight in self.weights.items() if weight)])
        members = {name: self.members[name] for name in names}
        documents = self.ids.documents
        encoders = {id(member.encoder): member.encoder for member in members.values() if member.encoder is not None}
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            block = queries[start : start + _QUERIES_AT_ONCE]
            vectors = {key: encoder.encode([q.text for q in block]) for key, encoder in encoders.items()}
            for at, query in enumerate(block):
                views = {
                    name: member.view(query, vectors[id(member.encoder)][at] if member.encoder is not None else None)
                    for name, member in members.items()
                }
                found = [
                    self.ids.best(
                        views[name].all_scores(),
                        depth or self.depth,
                        above=0.0 if isinstance(members[name], LEXICAL) else None,
                    )
                    for name in self.sources
                ]
                rows = np.unique(np.concatenate(found))
                scores = {name: views[name].scores(rows) for name in names}
                yield Candidates(query, rows, scores, None if documents is None else documents[rows])


def fuse(candidates: Candidates, weights: Mapping[str, float]) -> NDArray[np.float32]:
    """(n,) the weighted sum of each member's scores; one member alone keeps its own scale."""
    names = [name for name, weight in weights.items() if weight]
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
