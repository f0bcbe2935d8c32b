"""Formats for each kind of number, and cleaning of untrusted text, shared by all reports.

Documents and queries are untrusted: `safe` removes what could move a terminal's cursor, change a page's reading
direction, or fail to encode as UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acclimate.base.text import single_spaced


def safe(value: Any) -> Any:
    """A copy of a report with all of its text, keys included, `single_spaced`."""
    if isinstance(value, str):
        return single_spaced(value)
    if isinstance(value, Mapping):
        return {safe(key): safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [safe(item) for item in value]
    return value


def excerpt(text: str, limit: int) -> str:
    """At most `limit` characters of `text` on one line, cut between words if possible."""
    line = single_spaced(text[: 4 * limit])
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    return (cut[: cut.rfind(" ")] if cut.rfind(" ") > limit // 2 else cut) + "…"


def score(value: float | None) -> str:
    """`0.724`; `-` when there is none."""
    return "-" if value is None else f"{value:.3f}"


def share(value: float | None) -> str:
    """`62.3%`; `-` when there is none."""
    return "-" if value is None else f"{100 * value:.1f}%"


def signed(value: float) -> str:
    """`+0.043`, `-0.012`, and `0.000` when it rounds to that."""
    return f"{value:+.3f}" if round(value, 3) else "0.000"


def between(interval: tuple[float, float] | None) -> str:
    """`0.690-0.752`; nothing when there is no interval."""
    return f"{interval[0]:.3f}-{interval[1]:.3f}" if interval else ""


def p_value(p: float) -> str:
    """`0.034`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def milliseconds(value: float) -> str:
    """`0.42 ms`, `12 ms`, `1.3 s`."""
    if value >= 999.5:
        return f"{value / 1000:.1f} s"
    return f"{value:.{2 if value < 0.995 else 1 if value < 9.95 else 0}f} ms"


def size(count: float) -> str:
    """`812 B`, `41 MB`, `1.3 GB`; decimal units."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 9.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def latency(system: Mapping[str, Any], part: str = "p50") -> str:
    """`12 ms`; `-` for a provided run, which is read from its file."""
    return milliseconds(system["latency_ms"][part]) if is_timed(system) else "-"


def index_size(system: Mapping[str, Any]) -> str:
    """`41 MB`; `-` for a provided run, reranked or not: nothing is known of its index."""
    return size(system["index_bytes"]) if system["index_bytes"] else "-"


def is_timed(system: Mapping[str, Any]) -> bool:
    """True if the system's latency is known."""
    return system["kind"] != "run"


def usd(cost: float | None) -> str:
    """`$0.42`; `-` when nothing was paid for."""
    return "-" if cost is None else f"${cost:,.2f}" if cost >= 0.01 or cost == 0 else "< $0.01"
