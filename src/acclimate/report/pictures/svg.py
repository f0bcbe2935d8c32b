"""Shared parts of pictures: SVG elements, boxes, the nDCG@10 axis, and a picture as a file of its own."""

from __future__ import annotations

import math
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


class YAxis(NamedTuple):
    """The nDCG@10 axis of a plot; called with a value, it gives its position."""

    plot: Box
    ticks: range  # times the step
    step: float

    @classmethod
    def of(cls, plot: Box, low: float, high: float) -> YAxis:
        """An axis with at most 7 round ticks that covers the values, from 0 to 1."""
        span = max(high - low, 0.05)
        step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if span / step <= 5 or step == 0.5)
        first, last = max(math.floor(low / step - 0.1), 0), min(math.ceil(high / step + 0.1), round(1 / step))
        return cls(plot, range(first, max(last, first + 1) + 1), step)

    def __call__(self, value: float) -> float:
        """In px."""
        low, high = self.ticks[0] * self.step, self.ticks[-1] * self.step
        return self.plot.bottom - (value - low) / (high - low) * (self.plot.bottom - self.plot.top)

    def drawn(self, top: int, caveat: str = "") -> list[Markup]:
        """The title, at `top`, lines and labels."""
        parts = [tag("text", f"↑ {MAIN}" + (f" ({caveat})" if caveat else ""), x=0, y=top, class_="axis")]
        left, right = self.plot.left, self.plot.right
        for value in (tick * self.step for tick in self.ticks):
            y = self(value)
            parts.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
            parts.append(tag("text", f"{value:.2f}", x=left - 8, y=y + 4, text_anchor="end", class_="tick"))
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
