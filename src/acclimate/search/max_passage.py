"""Turn a passage retriever into a document retriever: a document's score is that of its best passage (MaxP)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from acclimate.base.digests import fingerprint
from acclimate.records import Query, Retriever, ScoredDoc


@dataclass(frozen=True)
class MaxPassage:
    """Documents by their best passage. `first` finds passages; `parents` maps passages to documents."""

    first: Retriever
    parents: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        return fingerprint("folded", self.first.fingerprint)

    def search(self, queries: Sequence[Query], k: int) -> list[ScoredDoc]:
        """At most `k` docs per query, with the score of their best passage; best first, ties by doc_id."""
        return [hit._replace(doc_id=self.document(hit.doc_id)) for hit in self.passages(queries, k)]

    def passages(self, queries: Sequence[Query], k: int) -> list[ScoredDoc]:
        """The same ranking, with the id of each document's best passage."""
        best: dict[str, list[ScoredDoc]] = {}
        waiting, depth = list(queries), 2 * k
        # Double the passages until the first `k` docs and their order are certain, or all passages are found.
        while waiting:
            hits = {query.query_id: [] for query in waiting}
            for query_id, passages in groupby(self.first.search(waiting, depth), key=lambda hit: hit.query_id):
                hits[query_id] = list(passages)
            best |= {query_id: self._best(passages) for query_id, passages in hits.items()}
            waiting = [
                query
                for query in waiting
                if len(passages := hits[query.query_id]) == depth
                and (len(docs := best[query.query_id]) < k or docs[k - 1].score == passages[-1].score)
            ]
            depth *= 2
        return [hit for query in queries for hit in best[query.query_id][:k]]

    def document(self, doc_id: str) -> str:
        """The document of a passage; a document's id is returned as it is."""
        return self.parents.get(doc_id, doc_id)

    def _best(self, hits: Sequence[ScoredDoc]) -> list[ScoredDoc]:
        """The first hit of each document."""
        first: dict[str, ScoredDoc] = {}
        for hit in hits:
            first.setdefault(self.document(hit.doc_id), hit)
        return [hit for _, hit in sorted(first.items(), key=lambda item: (-item[1].score, item[0]))]
