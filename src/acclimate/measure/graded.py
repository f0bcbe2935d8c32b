"""Measure systems by grades of their pooled top results, some of them missing, and correct them by people's grades."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from acclimate.measure.agreement import RELEVANT
from acclimate.measure.compare import NO_SOURCES
from acclimate.measure.measures import MAIN, MEASURES, PerQuery, per_query
from acclimate.measure.prediction_powered import MIN_VALUES, powered_mean
from acclimate.records import Qrel, ScoredDoc


def pooled(runs: Iterable[Sequence[ScoredDoc]], depth: int) -> dict[str, list[str]]:
    """query_id -> sorted ids of the documents among any system's first `depth`.

    runs: each with the hits of a query together, best first.
    """
    pool: dict[str, set[str]] = {}
    for run in runs:
        for query_id, hits in groupby(run, key=lambda hit: hit.query_id):
            pool.setdefault(query_id, set()).update([hit.doc_id for hit in hits][:depth])
    return {query_id: sorted(doc_ids) for query_id, doc_ids in pool.items()}


def values_of(run: Sequence[ScoredDoc], qrels: Sequence[Qrel], measures: Sequence[str] = MEASURES) -> PerQuery:
    """measure -> query_id -> value; documents without a grade are removed from the ranking.

    nDCG gains are the grades; for other measures grades of 2 and 3 are relevant, and recall is of the graded relevant
    ones.
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
    sources: Mapping[str, str] = NO_SOURCES,
) -> list[dict[str, Any]]:
    """Mean nDCG@10 of each system, and its difference from the baseline's, corrected by people's grades.

    by_judge: system -> query_id -> nDCG@10 by the judge's grades. people: their grades of some of these queries.
    sources: see `compare`. Empty if these are of fewer than `MIN_VALUES` sources. Where
    they are of all queries, they are the whole result.
    """
    query_ids = sorted(by_judge[baseline])
    graded_by_people = {qrel.query_id for qrel in people} & {*query_ids}
    few = [query_id for query_id in query_ids if query_id in graded_by_people]
    rest = [query_id for query_id in query_ids if query_id not in graded_by_people]
    theirs = [qrel for qrel in people if qrel.query_id in graded_by_people]
    written_for = [sources.get(query_id, query_id) for query_id in (*few, *rest)]
    if len({*written_for[: len(few)]}) < MIN_VALUES or all(qrel.relevance <= 0 for qrel in theirs):
        return []
    by_people = {name: per_query(run, theirs, [MAIN])[MAIN] for name, run in runs.items()}

    def values(name: str, of: Mapping[str, Mapping[str, float]], ids: Sequence[str]) -> np.ndarray[Any, Any]:
        return np.array([of[name][query_id] for query_id in ids])

    rows: list[dict[str, Any]] = []
    for name in runs:
        sides = ((by_people, few), (by_judge, few), (by_judge, rest))
        alone = [values(name, of, ids) for of, ids in sides]
        row = {"system": name, **powered_mean(*alone, within=(0.0, 1.0), sources=written_for).for_report()}
        if name != baseline:
            differences = [ours - values(baseline, of, ids) for ours, (of, ids) in zip(alone, sides, strict=True)]
            row["difference"] = {"baseline": baseline, **powered_mean(*differences, sources=written_for).for_report()}
        rows.append(row)
    return rows


def confirm(verdict: str, candidate: str, powered: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The verdict by a judge's grades, reduced to NO DIFFERENCE if people's interval does not confirm it.

    Empty if people's grades say nothing about it.
    """
    difference = next(
        (row["difference"] for row in powered if row["system"] == candidate and "difference" in row), None
    )
    if difference is None:
        return {}
    low, high = difference["ci95"]
    by_both = "WIN" if low > 0 else "REGRESSION" if high < 0 else "NO DIFFERENCE"
    return {"verdict": verdict if verdict == by_both else "NO DIFFERENCE", "judge_verdict": verdict}
