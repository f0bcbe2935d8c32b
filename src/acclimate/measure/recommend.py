"""Recommend a system: of those not significantly worse than the best, the one with the least effort, then the fastest.

Effort: what exists before adapting, then what is made from it without training, then what is adapted, then what is
reranked. Latencies vary between runs, so a system is faster only if it takes less than two thirds of the time, and
differences below a millisecond do not count; among equally fast ones the better measured is chosen, then the first by
name. Few queries can tell hardly any systems apart, so speed is no reason to choose one that measured much lower than
another of the same effort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from acclimate.measure.compare import PairedTest, compare, verdict
from acclimate.measure.measures import MAIN

FASTER = 1.5  # ratio of latencies that counts as slower
LEAST_MS = 1.0
CLOSE = 0.02  # nDCG@10 that may be given up for speed


class Recommendation(NamedTuple):
    """The system to serve, and why."""

    system: str
    best: str
    equals: dict[str, float]  # systems not significantly worse than the best -> p


def effort(system: Mapping[str, Any]) -> int:
    """Effort of a system in a report, from 0: existing, untrained, trained, reranked."""
    return 3 if system["kind"] == "reranked" else (not system["untouched"]) + system["adapted"]


def best_untouched(systems: Sequence[Mapping[str, Any]]) -> str:
    """The best of the systems that exist before adapting; if none is measured, of the unadapted ones."""
    untouched = [system for system in systems if system["untouched"]]
    unadapted = [system for system in systems if not system["adapted"]]
    return max(untouched or unadapted, key=lambda system: (system["measures"][MAIN], system["name"]))["name"]


def recommend(
    systems: Sequence[Mapping[str, Any]], values: Mapping[str, Mapping[str, float]], test: PairedTest
) -> Recommendation:
    """Choose among `systems`, as in a report. values: system -> query_id -> nDCG@10."""

    def place(system: Mapping[str, Any]) -> tuple[Any, ...]:
        return -system["measures"][MAIN], effort(system), system["name"]

    best = min(systems, key=place)["name"]
    equals: dict[str, float] = {}
    for name in (system["name"] for system in sorted(systems, key=place)):
        comparison = compare(
            values[best], values[name], system=best, baseline=name, measure=MAIN, seed=test.seed, sources=test.sources
        )
        if name != best and verdict(comparison, min_difference=test.min_difference) == "NO DIFFERENCE":
            equals[name] = round(comparison.p, 5)
    as_good = [system for system in systems if system["name"] in (best, *equals)]
    easiest = min(map(effort, as_good))
    servable = [system for system in as_good if effort(system) == easiest]
    highest = max(system["measures"][MAIN] for system in servable)
    close = [system for system in servable if system["measures"][MAIN] > highest - CLOSE]
    fastest = min(map(_milliseconds, close))
    fast = [system for system in close if _milliseconds(system) < FASTER * fastest]
    return Recommendation(min(fast, key=place)["name"], best, equals)


def _milliseconds(system: Mapping[str, Any]) -> float:
    return max(LEAST_MS, system["latency_ms"]["p50"])
