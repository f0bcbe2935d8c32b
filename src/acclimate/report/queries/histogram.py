"""Histograms of scores as small inline SVG: one bar per interval, kept queries below, dropped ones on top.

All histograms of a score share intervals and scale, so prompts with few queries compare with prompts that have many.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from acclimate.report.pictures.svg import tag
from acclimate.report.queries.statistics import Answer, source_rank

_BINS = 20
_WIDTH, _HEIGHT, _FOOT = 240, 96, 18
_RANKS = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, 100))


class Bar(NamedTuple):
    """Number of queries in one interval."""

    label: str
    kept: int
    dropped: int


def histograms(groups: Sequence[tuple[str, Sequence[Answer]]], score: str) -> list[tuple[str, Markup]]:
    """(group, picture) of one score, or `overlap`, per group; groups without it are left out."""
    known: list[tuple[str, list[tuple[float, bool]]]] = []
    for name, answers in groups:
        valued = [(_value(answer, score), answer.reason is None) for answer in answers]
        if values := [(value, is_kept) for value, is_kept in valued if value is not None]:
            known.append((name, values))
    if not known:
        return []
    if score == "rank":
        bars = [(name, _rank_bars(values)) for name, values in known]
        ticks = [*(str(first) if first == last else f"{first}-" for first, last in _RANKS), "none"]
    else:
        every = [value for _, values in known for value, _ in values]
        low, high = (0.0, 1.0) if score == "overlap" else (min(every), max(every))
        bars = [(name, _bars(values, low, high)) for name, values in known]
        ticks = [f"{low:.3g}", f"{high:.3g}"]
    most = max(share for _, counts in bars for share in _shares(counts))
    return [(name, _svg(counts, ticks, most, f"{score}, {name}")) for name, counts in bars]


def _value(answer: Answer, score: str) -> float | None:
    if score == "overlap":
        return answer.overlap
    return source_rank(answer) if score == "rank" else answer.scores.get(score)


def _bars(values: Iterable[tuple[float, bool]], low: float, high: float) -> list[Bar]:
    step = (high - low) / _BINS or 1.0
    counts = [[0, 0] for _ in range(_BINS)]
    for value, is_kept in values:
        counts[min(int((value - low) / step), _BINS - 1)][not is_kept] += 1
    return [
        Bar(f"{low + place * step:.3g} to {low + (place + 1) * step:.3g}", *count) for place, count in enumerate(counts)
    ]


def _rank_bars(values: Sequence[tuple[float, bool]]) -> list[Bar]:
    bars = []
    for first, last in (*_RANKS, (_RANKS[-1][1] + 1, math.inf)):
        inside = [is_kept for value, is_kept in values if first <= value <= last]
        label = "not found" if last == math.inf else f"rank {first}" + (f" to {last}" if last > first else "")
        bars.append(Bar(label, sum(inside), len(inside) - sum(inside)))
    return bars


def _shares(bars: Sequence[Bar]) -> list[float]:
    total = sum(bar.kept + bar.dropped for bar in bars)
    return [(bar.kept + bar.dropped) / total for bar in bars]


def _svg(bars: Sequence[Bar], ticks: Sequence[str], most: float, label: str) -> Markup:
    """The picture; `most` is the share at full height. One tick per bar, or one per end."""
    total = sum(bar.kept + bar.dropped for bar in bars)
    floor, pitch = _HEIGHT - _FOOT, _WIDTH / len(bars)
    unit = (floor - 4) / (most * total)  # px per query
    parts = [tag("line", x1=0, x2=_WIDTH, y1=floor + 0.5, y2=floor + 0.5, class_="base")]
    for number, bar in enumerate(bars):
        if not bar.kept + bar.dropped:
            continue
        kept, dropped = bar.kept * unit, bar.dropped * unit
        title = tag("title", f"{bar.label}: {bar.kept:,} kept, {bar.dropped:,} dropped")
        place = {"x": number * pitch + 1, "width": pitch - 2}
        columns = [tag("rect", **place, y=floor - kept, height=kept, class_="kept")] if bar.kept else []
        if bar.dropped:
            columns.append(tag("rect", **place, y=floor - kept - dropped, height=dropped, class_="dropped"))
        parts.append(tag("g", title, *columns))
    if len(ticks) == len(bars):
        parts += [
            tag("text", tick, x=(number + 0.5) * pitch, y=_HEIGHT - 3, text_anchor="middle", class_="tick")
            for number, tick in enumerate(ticks)
        ]
    else:
        parts.append(tag("text", ticks[0], x=0, y=_HEIGHT - 3, class_="tick"))
        parts.append(tag("text", ticks[-1], x=_WIDTH, y=_HEIGHT - 3, text_anchor="end", class_="tick"))
    return tag("svg", *parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=label, class_="histogram")
