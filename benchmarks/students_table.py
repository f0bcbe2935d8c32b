"""The table of students: nDCG@10 and cost, from the rows of benchmarks/students.py."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from results_page import table

from acclimate.measure.compare import compare, interval
from acclimate.measure.measures import MAIN

BASE, RERANKED = "base", "reranked"
TITLES = {
    BASE: "untouched",
    "contrastive": "contrastive",
    "fusion": "BM25, dense, late int.",
    "one": "(a) one reranker",
    "ensemble": "(b) a reranker per prompt",
    "mixed": "(c) those, BM25, dense, late int.",
}


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """nDCG@10, differences from each student's own base, costs, and the teachers, by collection."""
    if not rows:
        return "(no rows yet)"
    collections = sorted({row["collection"] for row in rows})
    kinds = sorted({row["kind"] for row in rows}, key=lambda kind: (kind == RERANKED, kind))
    arms = [arm for arm in TITLES if any(row["arm"] == arm for row in rows)]
    groups = [(kind, arm) for kind in kinds for arm in arms if _of(rows, kind, arm)]
    seeds = sorted({row["seed"] for row in rows if row["seed"] is not None})
    parts = [
        f"**nDCG@10**, mean over those of seeds {', '.join(map(str, seeds))} that there are (95 % bootstrap interval "
        "over queries)",
        table(
            ["student", "taught by", *collections, "mean"],
            [[kind, TITLES[arm], *_scores(rows, kind, arm, collections)] for kind, arm in groups],
        ),
        "**Difference to its own base**, ± standard deviation over seeds (how many there are; * p < .05, paired "
        "randomization test over queries on seeds' means)",
        table(
            ["student", "taught by", *collections, "mean"],
            [
                [kind, TITLES[arm], *_differences(rows, kind, arm, collections)]
                for kind, arm in groups
                if arm != BASE and kind != RERANKED
            ],
        ),
        "**What it takes**: milliseconds per query (median / 95th percentile), size of the index, seconds of training "
        "the student (rerankers and labels, shared by rows, not counted), means over collections and seeds; share "
        "of the reranked hybrid's nDCG@10 and of its time",
        table(
            ["student", "taught by", "ms, p50 / p95", "index, MB", "training, s", "of the best reranked hybrid"],
            [[kind, TITLES[arm], *_costs(_of(rows, kind, arm), rows)] for kind, arm in groups],
        ),
    ]
    taught = {(row["arm"], row["collection"], row["seed"]): row for row in rows if row.get("teachers")}
    if taught:
        parts += [
            "**Teachers**, nDCG@10 on held-out queries, mean over seeds (weight)",
            table(
                ["taught by", "teacher", *collections],
                [row for arm in arms for row in _teachers(list(taught.values()), arm, collections)],
            ),
        ]
    return "\n\n".join(parts)


def _of(rows: Sequence[dict[str, Any]], kind: str, arm: str, collection: str = "") -> list[dict[str, Any]]:
    """The rows of a kind, arm and, if given, collection."""
    return [
        row for row in rows if row["kind"] == kind and arm in ("", row["arm"]) and collection in ("", row["collection"])
    ]


def averaged(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """query_id -> nDCG@10, averaged over rows with different seeds, for queries common to all."""
    asked = set.intersection(*(set(row["per_query"]) for row in rows))
    return {query: sum(row["per_query"][query] for row in rows) / len(rows) for query in sorted(asked)}


def _mean(values: Mapping[str, float]) -> float:
    return fmean(values.values())


def _scores(rows: Sequence[dict[str, Any]], kind: str, arm: str, collections: Sequence[str]) -> Iterator[str]:
    means: list[float] = []
    for collection in collections:
        selected = _of(rows, kind, arm, collection)
        if not selected:
            yield ""
            continue
        values = averaged(selected)
        low, high = interval(values)
        means.append(_mean(values))
        yield f"{_number(means[-1])} ({_number(low)}–{_number(high)})"
    yield _number(fmean(means)) if len(means) == len(collections) else ""


def _differences(rows: Sequence[dict[str, Any]], kind: str, arm: str, collections: Sequence[str]) -> Iterator[str]:
    deltas: list[float] = []
    for collection in collections:
        selected, base = _of(rows, kind, arm, collection), _of(rows, kind, BASE, collection)
        if not selected or not base:
            yield ""
            continue
        ours, theirs = averaged(selected), averaged(base)
        shared = ours.keys() & theirs.keys()
        comparison = compare(
            {query: ours[query] for query in shared},
            {query: theirs[query] for query in shared},
            system=arm,
            baseline=BASE,
            measure=MAIN,
        )
        deltas.append(comparison.delta)
        by_seed = [_mean(row["per_query"]) for row in selected]
        spread = f" ±{_number(stdev(by_seed))}" if len(by_seed) > 1 else ""
        yield f"{comparison.delta:+.3f}" + ("*" if comparison.p < 0.05 else "") + f"{spread} ({len(by_seed)})"
    yield f"{fmean(deltas):+.3f}" if len(deltas) == len(collections) else ""


def _costs(selected: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> list[str]:
    p50, p95 = (fmean([row["latency_ms"][key] for row in selected]) for key in ("p50", "p95"))
    seconds = [row["training_seconds"]["distill"] for row in selected if "distill" in row.get("training_seconds", {})]
    size = fmean([row["index_bytes"] / 1e6 for row in selected])
    took = f"{fmean(seconds):.0f}" if seconds else ""
    return [f"{p50:.1f} / {p95:.1f}", f"{size:.1f}", took, _of_reranked(selected, rows)]


def _of_reranked(selected: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> str:
    """`97% in 1/12`: nDCG@10 and time relative to the collection's best reranked hybrid (geometric means)."""
    shares: list[tuple[float, float]] = []
    for row in selected:
        reranked = [
            hybrid
            for hybrid in _of(rows, RERANKED, "", row["collection"])
            if row["seed"] in (None, hybrid["seed"]) and row["kind"] != RERANKED
        ]
        if reranked:
            best = max(reranked, key=lambda hybrid: _mean(hybrid["per_query"]))
            ndcg, time = _mean(row["per_query"]), row["latency_ms"]["p50"]
            shares.append((ndcg / _mean(best["per_query"]), time / best["latency_ms"]["p50"]))
    if not shares:
        return ""
    score, time = (
        math.exp(sum(math.log(max(value, 1e-9)) for value in values) / len(shares))
        for values in zip(*shares, strict=True)
    )
    return f"{score:.0%} in " + (f"1/{1 / time:.{0 if time < 0.1 else 1}f}" if time < 1 else f"{time:.1f}")


def _teachers(rows: Sequence[dict[str, Any]], arm: str, collections: Sequence[str]) -> list[list[str]]:
    selected = [row for row in rows if row["arm"] == arm]
    names = dict.fromkeys(teacher["name"] for row in selected for teacher in row["teachers"])
    cells: list[list[str]] = []
    for name in names:
        line = [TITLES[arm], name]
        for collection in collections:
            teachers = [
                teacher
                for row in selected
                if row["collection"] == collection
                for teacher in row["teachers"]
                if teacher["name"] == name
            ]
            if teachers:
                weight = fmean(teacher["weight"] or 0.0 for teacher in teachers)
                line.append(f"{_number(fmean(teacher[MAIN] for teacher in teachers))} ({weight:.2f})")
            else:
                line.append("")
        cells.append(line)
    return cells


def _number(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
