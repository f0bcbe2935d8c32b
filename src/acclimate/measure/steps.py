"""What a step from one system to the next adds to the ranking, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acclimate.measure.compare import Comparison, verdict


def step_row(
    step: str, before: Mapping[str, Any], after: Mapping[str, Any], comparison: Comparison, min_difference: float
) -> dict[str, Any]:
    """A row of a report's `steps`. before, after: rows of its `systems`; comparison: of the two."""
    row, in_a_word = comparison.for_report(), verdict(comparison, min_difference=min_difference)
    return {
        "step": step,
        "from": before["name"],
        "to": after["name"],
        **{key: row[key] for key in ("delta", "ci95", "p", "wins", "losses", "ties")},
        "latency_ms": {"from": before["latency_ms"]["p50"], "to": after["latency_ms"]["p50"]},
        "index_bytes": {"from": before["index_bytes"], "to": after["index_bytes"]},
        "adds": in_a_word == "WIN",
        "verdict": in_a_word,
    }
