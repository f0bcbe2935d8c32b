"""Render pages from the templates in `templates/`, escaping all text.

Every page extends `frame.html.jinja`, whose content security policy lets nothing be loaded, and no script run except
one by hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from acclimate.base.progress import duration
from acclimate.base.text import counted
from acclimate.measure.measures import MAIN
from acclimate.report import formatting


@cache
def template(name: str) -> Any:
    """The template of that name, with filters for numbers and names."""
    environment = Environment(
        loader=PackageLoader("acclimate.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": formatting.score,
        "share": formatting.share,
        "signed": formatting.signed,
        "between": formatting.between,
        "p": formatting.p_value,
        "ms": formatting.milliseconds,
        "size": formatting.size,
        "usd": formatting.usd,
        "excerpt": formatting.excerpt,
        "breakable": _breakable,
        "duration": duration,
        "counted": counted,
        "count": lambda value: f"{value:,}",
    }
    environment.globals["interval"] = interval
    environment.globals["strip"] = _strip
    return environment.get_template(name)


def interval(system: Mapping[str, Any], measure: str = MAIN) -> tuple[float, float] | None:
    """The 95% interval of a system's mean; None in reports without intervals."""
    ends = system.get("intervals", {}).get(measure)
    return (ends[0], ends[1]) if ends else None


def _breakable(name: str) -> Markup:
    """A system's name with line-break opportunities between its parts: hybrid:|adapted+|reranker."""
    return Markup("<wbr>").join(re.split(r"(?<=[:+])", name))


def _strip(interval: tuple[float, float], value: float, scale: tuple[float, float], zero: bool = False) -> Markup:
    """An interval and its middle, drawn on the scale of its column."""

    def percent(number: float) -> str:
        return f"{100 * (number - scale[0]) / (scale[1] - scale[0]):.1f}%"

    width = f"{100 * (interval[1] - interval[0]) / (scale[1] - scale[0]):.1f}%"
    line = Markup('<s style="left:{}"></s>').format(percent(0)) if zero else Markup()
    return Markup(
        '<span class="strip" aria-hidden="true">{}<i style="left:{};width:{}"></i><b style="left:{}"></b></span>'
    ).format(line, percent(interval[0]), width, percent(value))
