"""Which system to serve: of those that cannot be told apart from the best, one that needs no adapting, then a fast one.

Told apart means that a paired test says so. Latencies differ from one run to the next, so one system is faster than
another only where it takes less than two thirds of the time, and below a millisecond nobody waits; of systems that are
equally fast the one that measured better is served, then the first by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from acclimate.measure.compare import compare, verdict

FASTER = 1.5  # times as long is slower
LEAST_MS = 1.0


class Recommendation(NamedTuple):
    """What to serve, and why."""

    system: str
    best: str
    equals: dict[str, float]  # what cannot be told apart from the best -> p


def recommend(
    systems: Sequence[Mapping[str, Any]], values: Mapping[str, Mapping[str, float]], measure: str, seed: int
) -> Recommendation:
    """The choice among `systems`, as they stand in a report; values: system -> query_id -> value of `measure`."""

    def place(system: Mapping[str, Any]) -> tuple[Any, ...]:
        return -system["measures"][measure], system["adapted"], system["name"]

    best = min(systems, key=place)["name"]
    equals: dict[str, float] = {}
    for name in (system["name"] for system in sorted(systems, key=place)):
        comparison = compare(values[best], values[name], system=best, baseline=name, measure=measure, seed=seed)
        if name != best and verdict(comparison) == "NO DIFFERENCE":
            equals[name] = round(comparison.p, 5)
    as_good = [system for system in systems if system["name"] in (best, *equals)]
    servable = [system for system in as_good if not system["adapted"]] or as_good
    fastest = min(map(_milliseconds, servable))
    fast = [system for system in servable if _milliseconds(system) < FASTER * fastest]
    return Recommendation(min(fast, key=place)["name"], best, equals)


def _milliseconds(system: Mapping[str, Any]) -> float:
    return max(LEAST_MS, system["latency_ms"]["p50"])
