"""What a student loses in quality and saves in time against the reranked system: UDAPDR's claim, on a run's own
figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from acclimate.measure.measures import MAIN


def trades(systems: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each student's share of the nDCG@10 and of the median latency of the best reranked system.

    Empty if nothing is reranked, or the reranked system finds nothing.
    """
    reranked = [system for system in systems if system["kind"] == "reranked"]
    if not reranked:
        return []
    best = max(reranked, key=lambda system: (system["measures"][MAIN], system["name"]))
    whole, time = best["measures"][MAIN], best["latency_ms"]["p50"]
    return [
        {
            "system": system["name"],
            "reranked": best["name"],
            "share_of_ndcg": round(system["measures"][MAIN] / whole, 4),
            "share_of_latency": round(system["latency_ms"]["p50"] / time, 5),
        }
        for system in systems
        if system["adapted"] and system["kind"] not in ("hybrid", "reranked") and whole > 0 and time > 0
    ]


def sentence(trade: Mapping[str, Any]) -> str:
    """`dense:adapted reaches 97% of hybrid+reranker's nDCG@10 in 1/12 of its time.`"""
    return (
        f"{trade['system']} reaches {trade['share_of_ndcg']:.0%} of {trade['reranked']}'s {MAIN} "
        f"in {_part(trade['share_of_latency'])} its time."
    )


def _part(share: float) -> str:
    """`1/12 of`, `1/2.4 of`, `0.9 times`."""
    if share > 1 / 1.5:
        return f"{share:.1f} times"
    return f"1/{1 / share:.{0 if share < 0.1 else 1}f} of" if share else "no part of"
