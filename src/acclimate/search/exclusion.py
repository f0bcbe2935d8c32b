"""A retriever that excludes documents which are the query itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from acclimate.base.digests import fingerprint
from acclimate.records import Query, Retriever, ScoredDoc


@dataclass(frozen=True)
class Excluding:
    """Removes the documents in `left_out` (query_id -> doc ids) from the results of `first`."""

    first: Retriever
    left_out: Mapping[str, Collection[str]]

    @property
    def fingerprint(self) -> str:
        return fingerprint(
            "without", self.first.fingerprint, {query_id: sorted(docs) for query_id, docs in self.left_out.items()}
        )

    def search(self, queries: Sequence[Query], k: int) -> list[ScoredDoc]:
        """At most `k` docs per query, best first, ties by doc_id."""
        more = max((len(self.left_out.get(query.query_id, ())) for query in queries), default=0)
        left: list[ScoredDoc] = []
        for query_id, hits in groupby(self.first.search(queries, k + more), key=lambda hit: hit.query_id):
            left_out = self.left_out.get(query_id, ())
            left += [hit for hit in hits if hit.doc_id not in left_out][:k]
        return left
