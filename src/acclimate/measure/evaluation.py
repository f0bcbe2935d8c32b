"""The result of measuring systems on the same queries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from acclimate.measure.compare import NO_SOURCES, Comparison, compare, interval, verdict
from acclimate.measure.measures import MAIN
from acclimate.measure.recommend import Recommendation, recommend
from acclimate.measure.steps import step_row

Values = Mapping[str, Mapping[str, float]]  # measure -> query_id -> value


class Evaluation(NamedTuple):
    """Measures, comparisons and the verdict."""

    systems: list[dict[str, Any]]
    comparisons: list[Comparison]
    steps: list[dict[str, Any]]
    verdict: str
    candidate: str
    baseline: str
    recommendation: Recommendation
    per_query: Mapping[str, Values]  # system -> measure -> query_id -> value

    def for_report(self) -> dict[str, Any]:
        """The part of a report that comes from measuring."""
        return {
            "verdict": self.verdict,
            "recommended": self.recommendation.system,
            "recommendation": {
                "best": self.recommendation.best,
                "equals": [{"system": name, "p": p} for name, p in self.recommendation.equals.items()],
            },
            "candidate": self.candidate,
            "baseline": self.baseline,
            "steps": self.steps,
            "systems": self.systems,
            "comparisons": [comparison.for_report() for comparison in self.comparisons],
        }


def conclude(
    systems: list[dict[str, Any]],
    values: Mapping[str, Values],
    baseline: str,
    candidate: str,
    pairs: Sequence[tuple[str, str]],
    steps: Sequence[tuple[str, str, str]],
    *,
    servable: Collection[str],
    seed: int,
    min_difference: float,
    sources: Mapping[str, str] = NO_SOURCES,
) -> Evaluation:
    """The verdict on the candidate, and everything else that follows from the systems' values.

    systems: as in a report. values: by system. pairs: to compare. steps: (what it adds, from, to). servable: systems to
    recommend from. Differences below `min_difference` do not count. sources: see `compare`.
    """
    by_name = {system["name"]: system for system in systems}
    measures = list(values[baseline])

    def compared(system: str, baseline: str, measure: str = MAIN) -> Comparison:
        after, before = values[system][measure], values[baseline][measure]
        return compare(after, before, system=system, baseline=baseline, measure=measure, seed=seed, sources=sources)

    return Evaluation(
        systems=systems,
        comparisons=[compared(*pair, measure) for measure in measures for pair in pairs],
        steps=[
            step_row(step, by_name[before], by_name[after], compared(after, before), min_difference)
            for step, before, after in steps
        ],
        verdict=verdict(compared(candidate, baseline), min_difference=min_difference),
        candidate=candidate,
        baseline=baseline,
        recommendation=recommend(
            [by_name[name] for name in servable],
            {name: of[MAIN] for name, of in values.items()},
            seed,
            min_difference,
            sources,
        ),
        per_query=values,
    )


def summary(
    values: Values, seconds: Sequence[float], seed: int, sources: Mapping[str, str] = NO_SOURCES
) -> dict[str, Any]:
    """Means, their intervals, and latencies, as a report has them. seconds: of single queries."""
    p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95])
    latency = {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "queries": len(seconds)}
    return {**means(values, seed, sources), "latency_ms": latency}


def means(values: Values, seed: int, sources: Mapping[str, str] = NO_SOURCES) -> dict[str, Any]:
    """Means and their intervals, as a report has them. sources: see `compare`."""
    return {
        "measures": {name: round(float(np.mean(list(of.values()))), 5) for name, of in values.items()},
        "intervals": {
            name: [round(edge, 5) for edge in interval(of, seed=seed, sources=sources)] for name, of in values.items()
        },
    }
