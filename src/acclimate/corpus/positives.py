"""Documents that cannot be negatives of a synthetic query: they may answer it as well as its source does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from acclimate.base.words import normalized_key
from acclimate.corpus.near_duplicates import NearDuplicateDocs, NearDuplicateQueries
from acclimate.records import Doc, SyntheticQuery

REASONS = ("sibling", "duplicate", "answers the same query", "is the query")
_SAME_QUERY = 0.2  # distance between word sets below which two queries count as the same
_KEPT = 10_000  # size of the cache of document texts


class Positives:
    """Decides which documents cannot be negatives of a query, whatever their score.

    parents: passage -> document. written: other queries, whose sources count as relevant to nearly equal ones.
    near_duplicates: Jaccard similarity from which two documents count as equal (1: equal texts only).
    """

    def __init__(
        self,
        corpus: Mapping[str, Doc],
        parents: Mapping[str, str],
        queries: Sequence[SyntheticQuery],
        written: Sequence[SyntheticQuery],
        near_duplicates: float,
    ) -> None:
        def keys(doc_id: str) -> tuple[bytes, bytes]:
            return normalized_key(corpus[doc_id].default_text()), normalized_key(corpus[doc_id].text)

        self._keys = lru_cache(maxsize=_KEPT)(keys)
        self._parents, self._answers = parents, _answers(queries, written)
        self._alike = NearDuplicateDocs(corpus, near_duplicates) if near_duplicates < 1 else None

    def reason(self, query: SyntheticQuery, doc_id: str) -> str | None:
        """Why this document cannot be a negative; None if it can."""
        source = query.doc_id
        if self._parents.get(doc_id, doc_id) == self._parents.get(source, source):
            return "sibling"
        if self._keys(doc_id)[0] == self._keys(source)[0] or (self._alike and self._alike(source, doc_id)):
            return "duplicate"
        if doc_id in self._answers[query.query_id]:
            return "answers the same query"
        return "is the query" if normalized_key(query.text) in self._keys(doc_id) else None


def _answers(queries: Sequence[SyntheticQuery], written: Sequence[SyntheticQuery]) -> dict[str, set[str]]:
    """query_id -> the sources of the queries nearly equal to it, its own included."""
    everything = {query.query_id: query for query in (*written, *queries)}
    alike = NearDuplicateQueries({query_id: query.text for query_id, query in everything.items()}, _SAME_QUERY)
    for query_id in everything:
        alike.add(query_id)
    return {
        query.query_id: {query.doc_id, *(everything[match].doc_id for match in alike.matches(query.query_id))}
        for query in queries
    }
