"""Pseudo-relevance feedback: BM25 searches again, with terms of the first documents that a fusion finds.

People's words are often not the documents', which costs BM25 most. The fusion finds documents all the same, and the
second search adds their terms to the query (RM3: Abdul-Jaleel et al., TREC 2004; there the documents are BM25's own).
Nothing is trained. It takes a second search, and no search engine does that by itself, so it is not exported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from acclimate.base.digests import fingerprint
from acclimate.records import Doc, Query
from acclimate.search.members import BM25Member, KnownScores, SharedViews, View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.search.encoded import Encoded
    from acclimate.search.system import System

# Chosen on the dev queries of three collections (docs/log.md): with more documents the query drifts; a larger share
# gains where people's words are not the documents' and loses where they are.
DOCUMENTS = 3
TERMS = 30
SHARE = 0.3  # of the query's weight, for the terms of documents
_CHARACTERS = 20_000  # of a document: reading a whole book would hold a query up


@dataclass(frozen=True, kw_only=True)
class FeedbackMember(BM25Member):
    """BM25 scores of expanded queries, unbounded above, 0 where no term is shared."""

    corpus: Mapping[str, Doc]
    first: System | None = None  # finds the documents; `systems.system_of` knows it

    @property
    def fingerprint(self) -> str:
        assert self.first is not None
        return fingerprint("feedback", super().fingerprint, self.first.fingerprint, DOCUMENTS, TERMS, SHARE)

    def views(self, queries: Sequence[Query], encoded: Sequence[Encoded], others: SharedViews) -> list[View]:
        assert self.first is not None
        first: dict[str, dict[str, float]] = {query.query_id: {} for query in queries}
        for hit in replace(self.first, views=others).search(queries, DOCUMENTS):
            first[hit.query_id][hit.doc_id] = hit.score
        return [KnownScores(self._scores(self.expanded(query, first[query.query_id]))) for query in queries]

    def expanded(self, query: Query, scores: Mapping[str, float]) -> dict[str, float]:
        """Term -> weight in the expanded query; the weights sum to 1. scores: doc_id -> score, of the first documents.

        A document's terms count as often as they stand in it, in proportion to its score (RM1), and the `TERMS` that
        count most are added.
        """
        analyzer, weights, added = self.index.analyzer, defaultdict[str, float](float), defaultdict[str, float](float)
        for doc_id, score in scores.items():
            terms = analyzer(self.corpus[doc_id].default_text()[:_CHARACTERS])
            for term in terms:
                added[term] += score / len(terms)
        best = sorted(added, key=lambda term: (-added[term], term))[:TERMS]
        total = sum(added[term] for term in best)
        query_terms = analyzer(query.text)
        share = SHARE if total > 0 else 0.0
        for term in query_terms:
            weights[term] += (1 - share) / len(query_terms)
        for term in best if share else ():
            weights[term] += share * added[term] / total
        return dict(weights)

    def _scores(self, weights: Mapping[str, float]) -> NDArray[np.float32]:
        """(n_docs,) sums over the terms, each times its weight."""
        scores = np.zeros(self.index.postings.n_docs, dtype=np.float32)
        for term, weight in weights.items():
            rows, of_term = self.index.postings.of(term)
            scores[rows] += np.float32(weight) * of_term
        return scores
