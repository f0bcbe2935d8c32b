"""Queries that are documents of the collection themselves, as in ArguAna and Quora, and would find themselves first.

Where most queries of a collection are, each is left out of its own results, as in BEIR's evaluation of ArguAna and
Quora: the answer is another document. A query is a document when their texts are the same, or nearly the same under the
same id; an equal id alone means nothing. A document that is judged relevant is an answer, whatever its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from acclimate.base.words import normalized, words_of
from acclimate.corpus.near_duplicates import jaccard
from acclimate.records import Doc, Qrel, Query

_MOST = 0.5  # share of queries that are documents, from which a collection is of this kind
_NEARLY = 0.8  # share of common words of nearly equal texts


class SelfMatches(NamedTuple):
    """The documents that equal queries."""

    documents: dict[str, frozenset[str]]  # query_id -> doc_ids
    are_usual: bool  # whether most queries are documents

    @property
    def left_out(self) -> dict[str, frozenset[str]]:
        """The documents to omit from each query's results."""
        return self.documents if self.are_usual else {}


NO_SELF_MATCHES = SelfMatches({}, are_usual=False)


def self_matches(queries: Sequence[Query], qrels: Iterable[Qrel], corpus: Mapping[str, Doc]) -> SelfMatches:
    """query_id -> the documents that equal the query and are not judged relevant for it."""
    relevant = {(qrel.query_id, qrel.doc_id) for qrel in qrels if qrel.relevance > 0}
    by_text: dict[str, list[str]] = {}
    for query in queries:
        by_text.setdefault(normalized(query.text), []).append(query.query_id)
    longest = max((len(query.text) for query in queries), default=0)
    matches: dict[str, set[str]] = {}
    for doc in corpus.values():
        if len(doc.text) <= 2 * longest + 100:  # white space may differ; longer texts cannot be equal
            for text in {doc.text, doc.default_text()}:
                for query_id in by_text.get(normalized(text), ()):
                    matches.setdefault(query_id, set()).add(doc.doc_id)
    for query in queries:
        if query.query_id in corpus and _is_nearly(query.text, corpus[query.query_id]):
            matches.setdefault(query.query_id, set()).add(query.query_id)
    without_answers = {
        query_id: frozenset(doc_id for doc_id in doc_ids if (query_id, doc_id) not in relevant)
        for query_id, doc_ids in sorted(matches.items())
    }
    documents = {query_id: doc_ids for query_id, doc_ids in without_answers.items() if doc_ids}
    return SelfMatches(documents, len(documents) > _MOST * len(queries))


def _is_nearly(query: str, doc: Doc) -> bool:
    words = set(words_of(query))
    return any(jaccard(words, set(words_of(text))) >= _NEARLY for text in (doc.text, doc.default_text()))
