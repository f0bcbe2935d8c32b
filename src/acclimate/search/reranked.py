"""A retriever whose first documents are reranked by a scorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from acclimate.base.digests import fingerprint
from acclimate.records import Query, Retriever, ScoredDoc, Scorer
from acclimate.search.candidates import min_max
from acclimate.search.scorers.lists import score_lists


@dataclass(frozen=True)
class Reranked:
    """`first` retrieves, `scorer` reorders the first `depth` docs with `weight`; `first` has the remaining weight.

    Both scores are min-max normalized over those docs and added. Deeper docs follow in their old order, with lower
    scores.
    """

    first: Retriever
    scorer: Scorer
    depth: int = 20
    weight: float = 1.0

    @property
    def fingerprint(self) -> str:
        return fingerprint("reranked", self.first.fingerprint, self.scorer.fingerprint, self.depth, self.weight)

    def search(self, queries: Sequence[Query], k: int) -> list[ScoredDoc]:
        """At most `k` docs per query, best first, ties by doc_id."""
        by_id = {query.query_id: query for query in queries}
        hits = groupby(self.first.search(queries, max(k, self.depth)), key=lambda hit: hit.query_id)
        ranked = {query_id: list(hits_of_query) for query_id, hits_of_query in hits}
        heads = [
            (by_id[query_id], [hit.doc_id for hit in of_query[: self.depth]]) for query_id, of_query in ranked.items()
        ]
        rated = {query.query_id: scores for query, scores in score_lists(self.scorer, heads)}
        return [
            hit
            for query_id, of_query in ranked.items()
            for hit in reordered(of_query, rated[query_id], self.weight)[:k]
        ]


def reordered(hits: Sequence[ScoredDoc], rated: Sequence[float], weight: float) -> list[ScoredDoc]:
    """The hits of one query, best first, with the first `len(rated)` reranked."""
    head, tail = hits[: len(rated)], hits[len(rated) :]
    first = np.array([hit.score for hit in head], dtype=np.float32)
    total = weight * min_max(np.array(rated, dtype=np.float32)) + (1 - weight) * min_max(first)
    best = [hit._replace(score=float(score)) for hit, score in zip(head, total, strict=True)]
    best.sort(key=lambda hit: (-hit.score, hit.doc_id))
    # The head is in [0, 1]; the tail gets distinct scores below it.
    return [*best, *(hit._replace(score=-1.0 - place) for place, hit in enumerate(tail))]
