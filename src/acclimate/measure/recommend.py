"""Which system to serve: of those that cannot be told apart from the best, the one that takes least, then a fast one.

What takes least is what people have before they adapt anything, then what is made of it without training, then what is
adapted, then what is reranked. Told apart means that a paired test says so. Latencies differ from one run to the next,
so one system is faster than another only where it takes less than two thirds of the time, and below a millisecond
nobody waits; of systems that are equally fast the one that measured better is served, then the first by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from acclimate.measure.compare import compare, verdict
from acclimate.measure.measures import MAIN

FASTER = 1.5  # times as long is slower
LEAST_MS = 1.0


class Recommendation(NamedTuple):
    """What to serve, and why."""

    system: str
    best: str
    equals: dict[str, float]  # what cannot be told apart from the best -> p


def effort(system: Mapping[str, Any]) -> int:
    """What it takes to have a system of a report, from 0: it is there, it is made untrained, trained, and reranked."""
    return 3 if system["kind"] == "reranked" else (not system["untouched"]) + system["adapted"]


def best_untouched(systems: Sequence[Mapping[str, Any]]) -> str:
    """The best of what people have; where none of it is measured, of what was not adapted."""
    untouched = [system for system in systems if system["untouched"]]
    unadapted = [system for system in systems if not system["adapted"]]
    return max(untouched or unadapted, key=lambda system: (system["measures"][MAIN], system["name"]))["name"]


def recommend(
    systems: Sequence[Mapping[str, Any]],
    values: Mapping[str, Mapping[str, float]],
    seed: int,
    least: float = 0.0,
) -> Recommendation:
    """The choice among `systems`, as they stand in a report; values: system -> query_id -> nDCG@10.

    least: what differs by less cannot be told apart.
    """

    def place(system: Mapping[str, Any]) -> tuple[Any, ...]:
        return -system["measures"][MAIN], effort(system), system["name"]

    best = min(systems, key=place)["name"]
    equals: dict[str, float] = {}
    for name in (system["name"] for system in sorted(systems, key=place)):
        comparison = compare(values[best], values[name], system=best, baseline=name, measure=MAIN, seed=seed)
        if name != best and verdict(comparison, least=least) == "NO DIFFERENCE":
            equals[name] = round(comparison.p, 5)
    as_good = [system for system in systems if system["name"] in (best, *equals)]
    easiest = min(map(effort, as_good))
    servable = [system for system in as_good if effort(system) == easiest]
    fastest = min(map(_milliseconds, servable))
    fast = [system for system in servable if _milliseconds(system) < FASTER * fastest]
    return Recommendation(min(fast, key=place)["name"], best, equals)


def _milliseconds(system: Mapping[str, Any]) -> float:
    return max(LEAST_MS, system["latency_ms"]["p50"])
