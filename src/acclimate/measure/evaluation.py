"""The result of measuring systems on the same queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from acclimate.measure.compare import Comparison, PairedTest, interval
from acclimate.measure.recommend import Recommendation

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


def summary(values: Values, seconds: Sequence[float], test: PairedTest) -> dict[str, Any]:
    """Means, their intervals, and latencies, as a report has them. seconds: of single queries."""
    p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95])
    latency = {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "queries": len(seconds)}
    return {**means(values, test), "latency_ms": latency}


def means(values: Values, test: PairedTest) -> dict[str, Any]:
    """Means and their intervals, as a report has them."""
    return {
        "measures": {name: round(float(np.mean(list(of.values()))), 5) for name, of in values.items()},
        "intervals": {
            name: [round(edge, 5) for edge in interval(of, seed=test.seed, sources=test.sources)]
            for name, of in values.items()
        },
    }
