"""The report as one page: no scripts, nothing loaded from anywhere, light and dark, screen and paper.

Everything in a report that is text may come from a stranger's document or from an LLM. `formatting.safe`
cleans all of it, Jinja escapes all of it, and the page's own policy forbids scripts and requests besides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from acclimate.base.progress import duration
from acclimate.measure.measures import MAIN, MEASURES
from acclimate.report import against_reranked, formatting, sentences, steering, steps
from acclimate.report.pictures.tradeoff import tradeoff

_OPTIONAL: dict[str, Any] = {
    "examples": [],
    "teachers": [],
    "tried": [],
    "against_reranked": [],
    "generated_sample": [],
    "warnings": [],
    "steps": [],
}
_DOCS_SHOWN = 5


def render(report: Mapping[str, Any]) -> str:
    """The page, from the mapping that is written as report.json."""
    report = _OPTIONAL | formatting.safe(report)
    systems = sorted(report["systems"], key=lambda system: -system["measures"][MAIN])
    # On the picture a word is enough; the heading above it has the whole caveat.
    caveat = {"qrels": "", "synthetic": "synthetic queries"}[report["verdict_basis"]]
    goal = report["against_reranked"][0]["reranked"] if report["against_reranked"] else ""
    pictured = {"recommended": report["recommended"], "caveat": caveat, "goal": goal}
    return template("report.html.jinja").render(
        report=report,
        systems=systems,
        measures=sorted(
            dict.fromkeys(measure for system in systems for measure in system["measures"]),
            key=lambda measure: measure not in MEASURES,
        ),
        system_scale=_scale([_interval(system) for system in systems]),
        step_scale=_scale([(0.0, 0.0), *(step["ci95"] for step in report["steps"])]),
        delta_scale=_scale([(0.0, 0.0), *(comparison["ci95"] for comparison in report["comparisons"])]),
        key_comparison=sentences.key_comparison(report),
        charts=[
            tradeoff(systems, **pictured, key="wide"),
            tradeoff(systems, **pictured, width=360, height=340, key="narrow"),
        ],
        totals=_totals(report["stages"]),
        examples=[_example(example) for example in report["examples"]],
        trade_sentence=against_reranked.sentence,
        formatting=formatting,
        sentences=sentences,
        steps=steps,
        steering=steering,
        main_measure=MAIN,
    )


@cache
def template(name: str) -> Any:
    """A page's template beside this file; whatever it is given as text, it escapes."""
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
        "count": lambda value: f"{value:,}",
    }
    environment.globals["interval"] = _interval
    environment.globals["strip"] = _strip
    return environment.get_template(name)


def _interval(system: Mapping[str, Any], measure: str = MAIN) -> tuple[float, float] | None:
    ends = system.get("intervals", {}).get(measure)
    return (ends[0], ends[1]) if ends else None


def _scale(intervals: Sequence[tuple[float, float] | None]) -> tuple[float, float]:
    """The ends of an axis that all intervals fit on, with a little room."""
    ends = [end for interval in intervals if interval for end in interval]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    room = max((high - low) * 0.04, 1e-6)
    return low - room, high + room


def _breakable(name: str) -> Markup:
    """A system's name that a narrow column may break where its parts meet: hybrid:|adapted+|reranker."""
    return Markup("<wbr>").join(re.split(r"(?<=[:+])", name))


def _strip(interval: tuple[float, float], value: float, scale: tuple[float, float], zero: bool = False) -> Markup:
    """An interval and its middle, drawn on a scale that a column shares."""

    def percent(number: float) -> str:
        return f"{100 * (number - scale[0]) / (scale[1] - scale[0]):.1f}%"

    width = f"{100 * (interval[1] - interval[0]) / (scale[1] - scale[0]):.1f}%"
    line = Markup('<s style="left:{}"></s>').format(percent(0)) if zero else Markup()
    return Markup(
        '<span class="strip" aria-hidden="true">{}<i style="left:{};width:{}"></i><b style="left:{}"></b></span>'
    ).format(line, percent(interval[0]), width, percent(value))


def _totals(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    costs = [stage["cost_usd"] for stage in stages if stage["cost_usd"] is not None]
    return {
        "seconds": sum(stage["seconds"] for stage in stages),
        "prompt": sum(stage["tokens"].get("prompt", 0) for stage in stages),
        "completion": sum(stage["tokens"].get("completion", 0) for stage in stages),
        "cost_usd": sum(costs) if costs else None,
    }


def _example(example: Mapping[str, Any]) -> dict[str, Any]:
    """An example whose docs say where they stand on the other side: `elsewhere`, from 1, or None."""

    def ranked(side: str, opposite: str) -> dict[str, Any]:
        places = {doc["doc_id"]: rank for rank, doc in enumerate(example[opposite]["docs"], 1)}
        docs = [
            {**doc, "rank": rank, "elsewhere": places.get(doc["doc_id"])}
            for rank, doc in enumerate(example[side]["docs"][:_DOCS_SHOWN], 1)
        ]
        return {"system": example[side]["system"], "docs": docs}

    return {**example, "before": ranked("before", "after"), "after": ranked("after", "before")}
