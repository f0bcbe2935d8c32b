"""Shared parts of pictures: SVG elements, boxes, the nDCG@10 axis, and a picture as a file of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import resources
from typing import NamedTuple

from markupsafe import Markup

from acclimate.measure.measures import MAIN


class Box(NamedTuple):
    """A rectangle, in px."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Area shared with `other`, in square px."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0) * max(high, 0)

    def area(self) -> float:
        """In square px."""
        return (self.right - self.left) * (self.bottom - self.top)


def y_range(low: float, high: float) -> tuple[float, float, float]:
    """(start, end, step) of an axis with at most 7 round ticks that covers the values, from 0 to 1."""
    span = max(high - low, 0.05)
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if span / step <= 5 or step == 0.5)
    first, last = math.floor(low / step - 0.1), math.ceil(high / step + 0.1)
    first, last = max(first, 0), min(last, round(1 / step))
    return first * step, max(last, first + 1) * step, step


def y_axis(
    plot: Box, low: float, high: float, step: float, y: Callable[[float], float], caveat: str, *, top: int
) -> list[Markup]:
    """Title, lines and ticks of an nDCG@10 axis; `y` maps a value to px, `top` is the position of the title."""
    parts = [tag("text", f"↑ {MAIN}" + (f" ({caveat})" if caveat else ""), x=0, y=top, class_="axis")]
    for tick in range(round(low / step), round(high / step) + 1):
        height = y(tick * step)
        parts.append(tag("line", x1=plot.left, x2=plot.right, y1=height, y2=height, class_="grid"))
        parts.append(tag("text", f"{tick * step:.2f}", x=plot.left - 8, y=height + 4, text_anchor="end", class_="tick"))
    return parts


def tag(name: str, *content: Markup | str, **attributes: str | float) -> Markup:
    """An SVG element; `_` in attribute names becomes `-`. Everything but Markup is escaped."""
    written = Markup("").join(
        Markup(' {}="{}"').format(
            key.strip("_").replace("_", "-"), f"{value:.1f}" if isinstance(value, float) else value
        )
        for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, Markup("").join(content))


def standalone(picture: Markup, *, width: int = 1000, height: int = 420) -> str:
    """A picture as a file of its own, with the report's colors, light and dark."""
    css = resources.files("acclimate.report").joinpath("templates/page.css").read_text(encoding="utf-8")
    colors = css.partition("* {")[0]
    rules = [line for line in css.splitlines() if line.startswith(".chart ")]
    font = ".chart { font: 12.5px Helvetica, Arial, sans-serif; }"
    style = Markup("<style>\n{}\n</style>").format(Markup("\n".join([colors.strip(), font, *rules])))
    paper = tag("rect", width="100%", height="100%", style="fill: var(--paper)")
    head, _, rest = picture.partition(">")
    opening = f'{head} xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
    return f"{opening}{style}{paper}{rest}\n"
