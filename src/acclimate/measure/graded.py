"""Systems on grades of the pool of their first results, where some of it may have no grade; and with people's help."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from acclimate.measure.agreement import RELEVANT
from acclimate.measure.measures import MAIN, MEASURES, PerQuery, per_query
from acclimate.measure.prediction_powered import FEWEST, powered_mean
from acclimate.records import Qrel, ScoredDoc


def pooled(runs: Iterable[Sequence[ScoredDoc]], depth: int) -> dict[str, list[str]]:
    """query_id -> the ids of the documents that any system has among its first `depth`, sorted.

    runs: each with the hits of a query together, best first.
    """
    pool: dict[str, set[str]] = {}
    for run in runs:
        for query_id, hits in groupby(run, key=lambda hit: hit.query_id):
            pool.setdefault(query_id, set()).update([hit.doc_id for hit in hits][:depth])
    return {query_id: sorted(doc_ids) for query_id, doc_ids in pool.items()}


def values_of(run: Sequence[ScoredDoc], qrels: Sequence[Qrel], measures: Sequence[str] = MEASURES) -> PerQuery:
    """measure -> query_id -> value, of what is graded of a run: what has no grade is taken out of the ranking.

    nDCG gains are the grades; for other measures what has a grade of 2 or 3 is relevant, and recall is of the relevant
    ones that are graded.
    """
    known = {(qrel.query_id, qrel.doc_id) for qrel in qrels}
    condensed = [hit for hit in run if (hit.query_id, hit.doc_id) in known]
    is_relevant = [qrel._replace(relevance=int(qrel.relevance >= RELEVANT)) for qrel in qrels]
    others = [measure for measure in measures if measure != MAIN]
    values = per_query(condensed, qrels, [MAIN])
    if others and any(qrel.relevance for qrel in is_relevant):
        return values | per_query(condensed, is_relevant, others)
    return values | {measure: dict.fromkeys(values[MAIN], 0.0) for measure in others}


def powered(
    runs: Mapping[str, Sequence[ScoredDoc]],
    by_judge: Mapping[str, Mapping[str, float]],
    people: Sequence[Qrel],
    baseline: str,
) -> list[dict[str, Any]]:
    """The mean nDCG@10 of each system, and its difference from the baseline's, as people would have it.

    by_judge: system -> query_id -> nDCG@10 on the judge's grades. people: their grades of some of these queries. Empty
    where these are fewer than `FEWEST`, or all.
    """
    query_ids = sorted(by_judge[baseline])
    graded_by_people = {qrel.query_id for qrel in people} & {*query_ids}
    few = [query_id for query_id in query_ids if query_id in graded_by_people]
    rest = [query_id for query_id in query_ids if query_id not in graded_by_people]
    theirs = [qrel for qrel in people if qrel.query_id in graded_by_people]
    if len(few) < FEWEST or not rest or all(qrel.relevance <= 0 for qrel in theirs):
        return []
    by_people = {
        name: per_query([hit for hit in run if hit.query_id in graded_by_people], theirs, [MAIN])[MAIN]
        for name, run in runs.items()
    }

    def values(name: str, of: Mapping[str, Mapping[str, float]], ids: Sequence[str]) -> np.ndarray[Any, Any]:
        return np.array([of[name][query_id] for query_id in ids])

    rows: list[dict[str, Any]] = []
    for name in runs:
        sides = ((by_people, few), (by_judge, few), (by_judge, rest))
        alone = [values(name, of, ids) for of, ids in sides]
        row = {"system": name, **powered_mean(*alone, within=(0.0, 1.0)).for_report()}
        if name != baseline:
            differences = [ours - values(baseline, of, ids) for ours, (of, ids) in zip(alone, sides, strict=True)]
            row["difference"] = {"baseline": baseline, **powered_mean(*differences).for_report()}
        rows.append(row)
    return rows


def confirmed(verdict: str, candidate: str, powered: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The verdict on a judge's grades once people's were heard: a difference that their interval does not confirm is
    none. Nothing where they said nothing of it."""
    difference = next(
        (row["difference"] for row in powered if row["system"] == candidate and "difference" in row), None
    )
    if difference is None:
        return {}
    low, high = difference["ci95"]
    by_both = "WIN" if low > 0 else "REGRESSION" if high < 0 else "NO DIFFERENCE"
    return {"verdict": verdict if verdict == by_both else "NO DIFFERENCE", "judge_verdict": verdict}
