"""Example queries with the rankings of two systems that differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, islice
from typing import Any, NamedTuple

from acclimate.corpus.analyzer import Analyzer
from acclimate.corpus.marks import Marker
from acclimate.records import Doc, Qrel, Query, ScoredDoc

EXAMPLES = 5
EXAMPLE_DOCS = 5
_SHOWN = 200  # characters of a document


class SystemRun(NamedTuple):
    """What a system finds for each query, and how good that is."""

    name: str
    hits: Iterable[ScoredDoc]  # those of a query together, best first; read once
    values: Mapping[str, float]  # query_id -> the measure compared


def before_after(
    before: SystemRun,
    after: SystemRun,
    queries: Sequence[Query],
    qrels: Sequence[Qrel],
    corpus: Mapping[str, Doc],
    analyzer: Analyzer,
    *,
    most: int = EXAMPLES,
) -> list[dict[str, Any]]:
    """The largest gain of `after` over `before`, its largest loss, and others evenly spaced between.

    analyzer: whose terms select the part of a document to show. most: maximum number of queries, at least 2.
    """
    gains = {query_id: after.values[query_id] - value for query_id, value in before.values.items()}
    changed = [query_id for query_id, gain in sorted(gains.items(), key=lambda item: (-item[1], item[0])) if gain]
    if len(changed) > most:
        changed = [changed[round(number * (len(changed) - 1) / (most - 1))] for number in range(most)]
    texts = {query.query_id: query.text for query in queries}
    grades = {(qrel.query_id, qrel.doc_id): qrel.relevance for qrel in qrels}
    shown_ids, marker = set(changed), Marker(analyzer)

    def shown(of: SystemRun) -> dict[str, list[dict[str, Any]]]:
        """query_id -> the first documents."""
        return {
            query_id: [
                {
                    "doc_id": doc.doc_id,
                    "title": doc.title,
                    "text": marker.part(texts[query_id], doc.text, _SHOWN),
                    "relevance": grades.get((query_id, doc.doc_id)),
                }
                for doc in (corpus[hit.doc_id] for hit in islice(hits, EXAMPLE_DOCS))
            ]
            for query_id, hits in groupby(of.hits, key=lambda hit: hit.query_id)
            if query_id in shown_ids
        }

    docs_before, docs_after = shown(before), shown(after)
    return [
        {
            "query": texts[query_id],
            "before": {"system": before.name, "docs": docs_before.get(query_id, [])},
            "after": {"system": after.name, "docs": docs_after.get(query_id, [])},
            "delta": round(gains[query_id], 5),
        }
        for query_id in changed
    ]
