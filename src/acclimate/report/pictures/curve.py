"""A learning curve as inline SVG: a line over a logarithmic axis, its interval as a band, the untrained start
dashed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from acclimate.measure.measures import MAIN
from acclimate.report.formatting import score
from acclimate.report.pictures.svg import Box, YAxis, tag

_WIDTH, _HEIGHT = 480, 280
_PLOT = Box(44, 34, _WIDTH - 30, _HEIGHT - 46)


def learning_curve(curve: Mapping[str, Any], queries: str, unit: str, *, key: str) -> Markup:
    """One system's nDCG@10 on one set of queries, by the number of `unit` it was trained on."""
    counts = [point[unit] for point in curve["points"]]
    points = [point[queries] for point in curve["points"]]
    start = curve["untrained"][queries] if curve["untrained"] else None
    ends = [end for point in [*points, *([start] if start else [])] for end in (*point["interval"], point["nDCG@10"])]
    y = YAxis.of(_PLOT, min(ends), max(ends))
    first, last = math.log2(counts[0]), math.log2(counts[-1])

    def x(count: float) -> float:
        share = (math.log2(count) - first) / (last - first) if last > first else 0.5
        return _PLOT.left + 14 + share * (_PLOT.right - _PLOT.left - 28)

    parts = [_title(curve, queries, unit, key), *y.drawn(16)]
    parts += [tag("line", x1=_PLOT.left, x2=_PLOT.right, y1=_PLOT.bottom, y2=_PLOT.bottom, class_="base")]
    if start:
        height = y(start["nDCG@10"])
        parts.append(tag("line", x1=_PLOT.left, x2=_PLOT.right, y1=height, y2=height, class_="start"))
        # If the line is lowest on the right, put the label above it, where the line does not cross it.
        above = points[-1]["nDCG@10"] < start["nDCG@10"]
        label = f"{'first stage' if unit == 'queries' else 'untrained'} {score(start['nDCG@10'])}"
        place = {"x": float(_PLOT.right - 4), "y": height - 6 if above else height + 15, "text_anchor": "end"}
        parts.append(tag("text", label, **place, class_="label untrained"))
    ends_of = [
        [(x(count), y(point["interval"][end])) for count, point in zip(counts, points, strict=True)] for end in (0, 1)
    ]
    parts.append(tag("polygon", points=_joined([*ends_of[1], *reversed(ends_of[0])]), class_="band adapted"))
    middle = [(x(count), y(point["nDCG@10"])) for count, point in zip(counts, points, strict=True)]
    parts.append(tag("polyline", points=_joined(middle), class_="curve"))
    for (across, height), count in zip(middle, counts, strict=True):
        parts.append(tag("circle", cx=across, cy=height, r=4.5, class_="mark adapted"))
        parts.append(tag("line", x1=across, x2=across, y1=_PLOT.bottom, y2=_PLOT.bottom + 5, class_="base"))
        parts.append(tag("text", f"{count:,}", x=across, y=_PLOT.bottom + 19, text_anchor="middle", class_="tick"))
    for place, point in {middle[0]: points[0], middle[-1]: points[-1]}.items():
        dy = -11 if start is None or point["nDCG@10"] >= start["nDCG@10"] else 19
        label = score(point["nDCG@10"])
        parts.append(tag("text", label, x=place[0], y=place[1] + dy, text_anchor="middle", class_="label adapted"))
    axis = f"{unit} trained on, log scale"
    parts.append(tag("text", axis, x=_PLOT.right, y=_PLOT.bottom + 40, text_anchor="end", class_="axis"))
    view = f"0 0 {_WIDTH} {_HEIGHT}"
    return tag("svg", *parts, viewBox=view, role="img", aria_labelledby=f"{key}-title {key}-desc", class_="chart")


def _title(curve: Mapping[str, Any], queries: str, unit: str, key: str) -> Markup:
    each = "; ".join(f"{score(point[queries]['nDCG@10'])} after {point[unit]:,}" for point in curve["points"])
    title = tag("title", f"{curve['system']} by {unit} trained on", id=f"{key}-title")
    return title + tag("desc", f"{MAIN}: {each}.", id=f"{key}-desc")


def _joined(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
