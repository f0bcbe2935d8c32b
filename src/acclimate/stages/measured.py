"""What `evaluate` found, as its files have it: `measured.json`, and queries before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from acclimate.measure.measures import MAIN
from acclimate.records import Doc, Qrel, Query
from acclimate.stages.evaluate import Evaluated

EXAMPLES = 5
EXAMPLE_DOCS = 5
_CUT = 300  # characters of a document's text that a reader needs


def measured(result: Evaluated) -> dict[str, Any]:
    """The part of the report that `evaluate` knows."""
    return {
        "verdict": result.verdict,
        "recommended": result.recommendation.system,
        "recommendation": {
            "best": result.recommendation.best,
            "equals": [{"system": name, "p": p} for name, p in result.recommendation.equals.items()],
        },
        "candidate": result.candidate,
        "baseline": result.baseline,
        "systems": result.systems,
        "comparisons": [
            {
                "system": one.system,
                "baseline": one.baseline,
                "measure": one.measure,
                "delta": round(one.delta, 5),
                "ci95": [round(edge, 5) for edge in one.ci95],
                "p": round(one.p, 5),
                "wins": one.wins,
                "losses": one.losses,
                "ties": one.ties,
            }
            for one in result.comparisons
        ],
    }


def examples(
    result: Evaluated, queries: Sequence[Query], qrels: Sequence[Qrel], corpus: Mapping[str, Doc]
) -> list[dict[str, Any]]:
    """Queries before and after: the largest gain, the largest loss, and others spread between them."""
    before, after = result.per_query[result.baseline][MAIN], result.per_query[result.candidate][MAIN]
    ordered = sorted(before, key=lambda query_id: (before[query_id] - after[query_id], query_id))
    changed = [query_id for query_id in ordered if before[query_id] != after[query_id]]
    if len(changed) > EXAMPLES:
        changed = [changed[round(at * (len(changed) - 1) / (EXAMPLES - 1))] for at in range(EXAMPLES)]
    texts = {query.query_id: query.text for query in queries}
    grades = {(qrel.query_id, qrel.doc_id): qrel.relevance for qrel in qrels}

    def shown(system: str, query_id: str) -> dict[str, Any]:
        hits = [hit for hit in result.runs[system] if hit.query_id == query_id][:EXAMPLE_DOCS]
        docs = [corpus[hit.doc_id] for hit in hits]
        return {
            "system": system,
            "docs": [
                {
                    "doc_id": doc.doc_id,
                    "title": doc.title,
                    "text": doc.text[:_CUT],
                    "relevance": grades.get((query_id, doc.doc_id)),
                }
                for doc in docs
            ],
        }

    return [
        {
            "query": texts[query_id],
            "before": shown(result.baseline, query_id),
            "after": shown(result.candidate, query_id),
            "delta": round(after[query_id] - before[query_id], 5),
        }
        for query_id in changed
    ]
