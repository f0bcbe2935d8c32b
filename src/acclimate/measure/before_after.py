"""Example queries with the rankings of two systems that differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, islice
from typing import Any

from acclimate.corpus.analyzer import Analyzer
from acclimate.corpus.marks import Marker
from acclimate.records import Doc, Qrel, Query, ScoredDoc

EXAMPLES = 5
EXAMPLE_DOCS = 5
_SHOWN = 200  # characters of a document


def before_after(
    baseline: str,
    candidate: str,
    runs: Mapping[str, Iterable[ScoredDoc]],
    values: Mapping[str, Mapping[str, float]],
    queries: Sequence[Query],
    qrels: Sequence[Qrel],
    corpus: Mapping[str, Doc],
    analyzer: Analyzer,
    *,
    most: int = EXAMPLES,
) -> list[dict[str, Any]]:
    """The candidate's largest gain over the baseline, its largest loss, and others evenly spaced between.

    runs: system -> run, the hits of a query together, best first. values: system -> query_id -> the measure compared.
    analyzer: whose terms select the part of a document to show. most: maximum number of queries, at least 2.
    """
    before, after = values[baseline], values[candidate]
    ordered = sorted(before, key=lambda query_id: (before[query_id] - after[query_id], query_id))
    changed = [query_id for query_id in ordered if before[query_id] != after[query_id]]
    if len(changed) > most:
        changed = [changed[round(number * (len(changed) - 1) / (most - 1))] for number in range(most)]
    texts = {query.query_id: query.text for query in queries}
    grades = {(qrel.query_id, qrel.doc_id): qrel.relevance for qrel in qrels}
    shown_ids = set(changed)
    first = {
        (system, query_id): [hit.doc_id for hit in islice(hits, EXAMPLE_DOCS)]
        for system, run in runs.items()
        for query_id, hits in groupby(run, key=lambda hit: hit.query_id)
        if query_id in shown_ids
    }

    marker = Marker(analyzer)

    def shown(system: str, query_id: str) -> dict[str, Any]:
        docs = [corpus[doc_id] for doc_id in first.get((system, query_id), ())]
        return {
            "system": system,
            "docs": [
                {
                    "doc_id": doc.doc_id,
                    "title": doc.title,
                    "text": marker.part(texts[query_id], doc.text, _SHOWN),
                    "relevance": grades.get((query_id, doc.doc_id)),
                }
                for doc in docs
            ],
        }

    return [
        {
            "query": texts[query_id],
            "before": shown(baseline, query_id),
            "after": shown(candidate, query_id),
            "delta": round(after[query_id] - before[query_id], 5),
        }
        for query_id in changed
    ]
