"""The trade-off as inline SVG: nDCG@10 against latency.

Colors come from the page's style sheet by class, so they follow its light and dark themes; shapes carry the same
meaning. Labels are placed to overlap least, by a few rounds of moving one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from acclimate.measure.measures import MAIN
from acclimate.report.formatting import milliseconds, score
from acclimate.report.pictures.svg import Box, YAxis, tag

_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 58, 46  # margins around the plot
_CHARACTER, _LINE = 7.3, 14  # of a label, in px, in the widest fallback font
_ROW, _TITLE = 22, 40  # height of a legend row; position of the axis title below one row
GOAL = (0.95, 0.1)  # a student's share of the reranked system's nDCG@10 and latency in UDAPDR's claim
# Possible label positions, best first: from the point to its anchor.
_OFFSETS: tuple[tuple[float, float, str], ...] = (
    (11, 4, "start"),
    (-11, 4, "end"),
    (0, -12, "middle"),
    (0, 21, "middle"),
    *((side * 9, dy, "start" if side > 0 else "end") for dy in (-9, 17, -24, 32, -39, 47) for side in (1, -1)),
)


_LEGEND = {"adapted": "adapted", "untrained": "not trained", "untouched": "what you have"}


class _Point(NamedTuple):
    name: str
    x: float
    y: float
    whisker: tuple[float, float]  # y of the interval's ends
    look: str  # of _LEGEND
    recommended: bool


def tradeoff(
    systems: Sequence[Mapping[str, Any]],
    *,
    recommended: str,
    caveat: str = "",
    goal: str = "",
    width: int = 1000,
    height: int = 420,
    key: str = "chart",
) -> Markup:
    """The picture. `caveat` stands beside the axis title; `key` makes ids unique if a page has several pictures.

    goal: the reranked system against which `GOAL` is shaded.
    """
    legend, rows = _legend(systems, recommended, width)
    lower = _ROW * (rows - 1)  # offset of everything below the legend
    plot = Box(_LEFT, _TOP + lower, width - _RIGHT, height - _BOTTOM)
    bounds = [_interval(system) for system in systems]
    y = YAxis.of(plot, min(low for low, _ in bounds), max(high for _, high in bounds))
    slow, fast = max(map(_latency, systems)), min(map(_latency, systems))
    room = max(1.5, math.sqrt(10 / (slow / fast)))  # at least a decade in total
    start, stop = math.log10(fast / room), math.log10(slow * room)

    def x(latency: float) -> float:
        return plot.left + (math.log10(latency) - start) / (stop - start) * (plot.right - plot.left)

    points = [
        _Point(
            name=system["name"],
            x=x(_latency(system)),
            y=y(system["measures"][MAIN]),
            whisker=(y(ends[1]), y(ends[0])),
            look=_look(system),
            recommended=system["name"] == recommended,
        )
        for system, ends in zip(systems, bounds, strict=True)
    ]
    points.sort(key=lambda point: point.recommended)  # drawn last, on top
    parts = [_title(systems, key)]
    taken: list[Box] = []
    if wanted := next((system for system in systems if system["name"] == goal), None):
        share, part = GOAL
        right, bottom = x(_latency(wanted) * part), y(wanted["measures"][MAIN] * share)
        region, label = _goal(plot, min(right, plot.right), min(bottom, plot.bottom), goal)
        parts, taken = [*parts, *region], label
    parts += [*legend, *y.drawn(_TITLE + lower, caveat)]
    parts += _x_axis(plot, start, stop, x, most=4 if width < 500 else 7)
    parts += [
        tag("line", x1=p.x, x2=p.x, y1=p.whisker[0], y2=p.whisker[1], class_=_class(p, "whisker")) for p in points
    ]
    parts += [_marker(point) for point in points]
    parts += _labels(points, plot, taken)
    view = f"0 0 {width} {height}"
    return tag(
        "svg", *parts, viewBox=view, role="img", aria_labelledby=f"{key}-title {key}-desc", class_=f"chart {key}"
    )


def _look(system: Mapping[str, Any]) -> str:
    return "adapted" if system["adapted"] else "untouched" if system.get("untouched") else "untrained"


def _latency(system: Mapping[str, Any]) -> float:
    return max(system["latency_ms"]["p50"], 0.001)  # a log axis has no 0


def _interval(system: Mapping[str, Any]) -> tuple[float, float]:
    value = system["measures"][MAIN]
    low, high = system.get("intervals", {}).get(MAIN, (value, value))
    return min(low, value), max(high, value)


def _x_axis(plot: Box, start: float, stop: float, x: Any, *, most: int) -> list[Markup]:
    """Ticks at 1, 2, 5, 10 ..., or at powers of ten when those are too many."""
    powers = range(math.floor(start), math.ceil(stop) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    ticks = [tick for tick in ticks if start <= math.log10(tick) <= stop]
    if len(ticks) > most:
        ticks = [tick for tick in ticks if math.log10(tick).is_integer()]
    parts = [tag("line", x1=plot.left, x2=plot.right, y1=plot.bottom, y2=plot.bottom, class_="base")]
    for tick in ticks:
        parts.append(tag("line", x1=x(tick), x2=x(tick), y1=plot.bottom, y2=plot.bottom + 5, class_="base"))
        label = f"{tick:g} ms" if tick < 1000 else f"{tick / 1000:g} s"
        parts.append(tag("text", label, x=x(tick), y=plot.bottom + 19, text_anchor="middle", class_="tick"))
    title = "median latency of a query, log scale; left is faster"
    return [*parts, tag("text", title, x=plot.right, y=plot.bottom + 40, text_anchor="end", class_="axis")]


def _title(systems: Sequence[Mapping[str, Any]], key: str) -> Markup:
    each = "; ".join(
        f"{system['name']} {score(system['measures'][MAIN])} at {milliseconds(system['latency_ms']['p50'])}"
        for system in systems
    )
    title = tag("title", f"{MAIN} against latency", id=f"{key}-title")
    return title + tag("desc", f"Each system's {MAIN} and median latency: {each}.", id=f"{key}-desc")


def _legend(systems: Sequence[Mapping[str, Any]], recommended: str, width: int) -> tuple[list[Markup], int]:
    """The legend, and its number of rows."""
    looks = {_look(system) for system in systems}
    marks = [(label, look, False) for look, label in _LEGEND.items() if look in looks]
    marks += [("recommended", _look(system), True) for system in systems if system["name"] == recommended]
    parts: list[Markup] = []
    x, row = 12.0, 0
    for label, look, ring in marks:
        if x + 15 + _CHARACTER * len(label) > width:
            x, row = 12.0, row + 1
        parts.append(_marker(_Point(label, x, 12.0 + _ROW * row, (0, 0), look, ring)))
        parts.append(tag("text", label, x=x + 15, y=16.0 + _ROW * row, class_="tick"))
        x += 44 + _CHARACTER * len(label)
    return parts, row + 1


def _marker(point: _Point) -> Markup:
    ring = tag("circle", cx=point.x, cy=point.y, r=10, class_=_class(point, "ring")) if point.recommended else Markup()
    if point.look != "untouched":
        return ring + tag("circle", cx=point.x, cy=point.y, r=5.5, class_=_class(point, "mark"))
    return ring + tag("rect", x=point.x - 5, y=point.y - 5, width=10, height=10, class_=_class(point, "mark"))


def _class(point: _Point, role: str) -> str:
    return f"{role} {point.look}" + (" best" if point.recommended else "")


def _goal(plot: Box, right: float, bottom: float, system: str) -> tuple[list[Markup], list[Box]]:
    """The region of the goal within the plot, with a label if there is room; and the boxes they take."""
    if right <= plot.left or bottom <= plot.top:
        return [], []
    size = {"width": float(right - plot.left), "height": float(bottom - plot.top)}
    parts = [tag("rect", x=float(plot.left), y=float(plot.top), **size, class_="goal")]
    label = f"{GOAL[0]:.0%} of {system} in 1/{1 / GOAL[1]:.0f} of its time"
    box = Box(plot.left + 8, plot.top + 5, plot.left + 8 + _CHARACTER * len(label), plot.top + 5 + _LINE)
    if box.right > right or box.bottom > bottom:
        return parts, []
    return [*parts, tag("text", label, x=box.left, y=box.bottom - 3, class_="tick")], [box]


def _labels(points: Sequence[_Point], plot: Box, taken: Sequence[Box] = ()) -> list[Markup]:
    marks = [*taken, *map(_mark_box, points)]
    places = [0] * len(points)
    for _ in range(8):
        before = list(places)
        for index, point in enumerate(points):
            others = [_label_box(other, places[i]) for i, other in enumerate(points) if i != index]
            places[index] = _place(point, [*others, *marks], plot)
        if places == before:
            break
    parts: list[Markup] = []
    for point, offset in zip(points, places, strict=True):
        dx, dy, anchor = _offset(point, offset)
        if abs(dy) > 22:
            end = point.y + dy - 4
            parts.append(tag("line", x1=point.x, y1=point.y, x2=point.x + dx * 0.8, y2=end, class_="leader"))
        place = {"x": point.x + dx, "y": point.y + dy}
        parts.append(tag("text", point.name, **place, text_anchor=anchor, class_=_class(point, "label")))
    return parts


def _place(point: _Point, others: Sequence[Box], plot: Box) -> int:
    """The label position with the least overlap with others and the outside of the plot; ties by order."""
    chosen, least = 0, math.inf
    for place in range(len(_OFFSETS)):
        if place >= least:
            break  # a position costs at least its index
        box = _label_box(point, place)
        cost = place + 10 * sum(map(box.overlap, others)) + 50 * (box.area() - box.overlap(plot))
        if cost < least:
            chosen, least = place, cost
    return chosen


def _offset(point: _Point, place: int) -> tuple[float, float, str]:
    dx, dy, anchor = _OFFSETS[place]
    ring = 5 if point.recommended else 0
    return dx + math.copysign(ring, dx) * (dx != 0), dy + math.copysign(ring, dy) * (dx == 0), anchor


def _mark_box(point: _Point) -> Box:
    half = 12 if point.recommended else 8
    return Box(point.x - half, point.y - half, point.x + half, point.y + half)


def _label_box(point: _Point, place: int) -> Box:
    dx, dy, anchor = _offset(point, place)
    wide = _CHARACTER * len(point.name) * (1.12 if point.recommended else 1)  # bold is wider
    left = point.x + dx - {"start": 0, "middle": wide / 2, "end": wide}[anchor]
    return Box(left - 2, point.y + dy - _LINE + 3, left + wide + 2, point.y + dy + 3)  # with a margin
