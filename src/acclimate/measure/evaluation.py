"""What measuring systems on the same queries came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from acclimate.measure.compare import Comparison, compare, interval
from acclimate.measure.recommend import Recommendation
from acclimate.records import ScoredDoc

Values = Mapping[str, Mapping[str, float]]  # measure -> query_id -> value


class Evaluation(NamedTuple):
    """What was measured."""

    systems: list[dict[str, Any]]
    comparisons: list[Comparison]
    steps: list[dict[str, Any]]
    verdict: str
    candidate: str
    baseline: str
    recommendation: Recommendation
    runs: dict[str, list[ScoredDoc]]
    per_query: dict[str, dict[str, dict[str, float]]]  # system -> measure -> query_id -> value

    def for_report(self) -> dict[str, Any]:
        """The part of the report that measuring knows."""
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


def compared(values: Mapping[str, Values], system: str, baseline: str, measure: str, seed: int) -> Comparison:
    """Two systems on one measure. values: of each."""
    after, before = values[system][measure], values[baseline][measure]
    return compare(after, before, system=system, baseline=baseline, measure=measure, seed=seed)


def reached(values: Values, seconds: Sequence[float], seed: int) -> dict[str, Any]:
    """Means, their intervals and latencies, as a report has them. seconds: of single queries."""
    p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95])
    return {
        "measures": {name: round(float(np.mean(list(of.values()))), 5) for name, of in values.items()},
        "intervals": {name: [round(edge, 5) for edge in interval(of, seed=seed)] for name, of in values.items()},
        "latency_ms": {"p50": round(float(p50), 2), "p95": round(float(p95), 2)},
    }
