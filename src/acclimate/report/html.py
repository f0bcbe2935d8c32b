"""The report as one page without scripts or external resources, for light and dark mode, screen and paper.

All text in a report may come from untrusted documents or an LLM: `formatting.safe` cleans it, Jinja escapes it, and the
page's content security policy forbids scripts and requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from acclimate.base.text import printable
from acclimate.measure.measures import MAIN, MEASURES
from acclimate.report import against_reranked, combinations, curves, forgetting, formatting, sentences, steering, steps
from acclimate.report.pictures.gains import gains
from acclimate.report.pictures.tradeoff import tradeoff
from acclimate.report.template import interval, template

_OPTIONAL: dict[str, Any] = {
    "examples": [],
    "teachers": [],
    "tried": [],
    "against_reranked": [],
    "generated_sample": [],
    "warnings": [],
    "steps": [],
    "combinations": [],
    "forgetting": [],
    "deltas": [],
    "turned_down": [],
    "curves": None,
    "command": "",
    "recipe_toml": "",
}
_DOCS_SHOWN = 5
_FIRST_SHOWN = 8  # queries shown unfolded, of those that gained and of those that lost


def render(report: Mapping[str, Any]) -> str:
    """The page, from the content of report.json; `details.details` returns additional keys."""
    report = _OPTIONAL | formatting.safe(report) | {"recipe_toml": printable(report.get("recipe_toml", ""))}
    systems = sorted(report["systems"], key=lambda system: -system["measures"][MAIN])
    goal = report["against_reranked"][0]["reranked"] if report["against_reranked"] else ""
    caveat = sentences.PICTURED[report["verdict_basis"]]
    timed = [system for system in systems if formatting.is_timed(system)]
    pictured = {"recommended": report["recommended"], "caveat": caveat, "goal": goal}
    verdict_rests_on = sentences.key_comparison(report)
    return template("report.html.jinja").render(
        report=report,
        systems=systems,
        measures=[*MEASURES, *sorted({measure for system in systems for measure in system["measures"]} - {*MEASURES})],
        system_scale=_scale([interval(system) for system in systems]),
        step_scale=_scale([(0.0, 0.0), *(step["ci95"] for step in report["steps"])]),
        outside_scale=_scale(
            [(0.0, 0.0), *(row["ci95"] for outside in report["forgetting"] for row in outside["systems"])]
        ),
        delta_scale=_scale([(0.0, 0.0), *(comparison["ci95"] for comparison in report["comparisons"])]),
        key_comparison=verdict_rests_on,
        comparisons=_folded(report),
        charts=[
            tradeoff(timed, **pictured, key="wide"),
            tradeoff(timed, **pictured, width=360, height=340, key="narrow"),
        ],
        **_query_by_query(report, verdict_rests_on),
        first_shown=_FIRST_SHOWN,
        curves=curves.template_values(report["curves"]) if report["curves"] else None,
        funnel=sentences.funnel(report),
        totals=_totals(report["stages"]),
        trade_sentence=against_reranked.sentence,
        formatting=formatting,
        sentences=sentences,
        steps=steps,
        combinations=combinations,
        forgetting=forgetting,
        steering=steering,
        main_measure=MAIN,
    )


def _folded(report: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Comparisons that verdict, recommendation and steps rest on, and the others, which are folded."""
    pairs = [(report[role], report["baseline"]) for role in ("candidate", "recommended")]
    pairs += [(step["to"], step["from"]) for step in report["steps"]]
    rows = {(row["system"], row["baseline"], row["measure"]): row for row in report["comparisons"]}
    first = [rows.pop((*pair, MAIN)) for pair in dict.fromkeys(pairs) if (*pair, MAIN) in rows]
    return {"first": first, "rest": list(rows.values())}


def _query_by_query(report: Mapping[str, Any], comparison: Mapping[str, Any] | None) -> dict[str, Any]:
    """Queries that gained, those that lost, both by size of the change, and a picture of all."""
    deltas, examples = report["deltas"], [_example(example) for example in report["examples"]]
    largest = max((abs(example["delta"]) for example in examples), default=0.0) or 1.0
    examples = [{**example, "size": abs(example["delta"]) / largest} for example in examples]
    better = [example for example in examples if example["delta"] > 0]
    worse = [example for example in examples if example["delta"] < 0]
    picture = None
    if comparison and any(deltas):
        counts = f"{comparison['wins']:,} better, {comparison['ties']:,} the same, {comparison['losses']:,} worse"
        picture = gains(deltas, f"What each query gained, sorted: {counts}")
    return {
        "better": sorted(better, key=lambda example: -example["delta"]),
        "worse": sorted(worse, key=lambda example: example["delta"]),
        "picture": picture,
        "shown": len(better) + len(worse),
        "changed": comparison["wins"] + comparison["losses"] if comparison else len(examples),
    }


def _scale(intervals: Sequence[tuple[float, float] | None]) -> tuple[float, float]:
    """The ends of an axis that fits all intervals, with some margin."""
    ends = [end for interval in intervals if interval for end in interval]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    room = max((high - low) * 0.04, 1e-6)
    return low - room, high + room


def _totals(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    costs = [stage["cost_usd"] for stage in stages if stage["cost_usd"] is not None]
    return {
        "seconds": sum(stage["seconds"] for stage in stages),
        "prompt": sum(stage["tokens"].get("prompt", 0) for stage in stages),
        "completion": sum(stage["tokens"].get("completion", 0) for stage in stages),
        "cost_usd": sum(costs) if costs else None,
        "all_resumed": all(stage["resumed"] for stage in stages),
        "longest": max((stage["seconds"] for stage in stages), default=0.0) or 1.0,
    }


def _example(example: Mapping[str, Any]) -> dict[str, Any]:
    """An example with each document's rank on the other side as `elsewhere`, from 1, or None."""

    def ranked(side: str, opposite: str) -> dict[str, Any]:
        places = {doc["doc_id"]: rank for rank, doc in enumerate(example[opposite]["docs"], 1)}
        docs = [
            {**doc, "rank": rank, "elsewhere": places.get(doc["doc_id"])}
            for rank, doc in enumerate(example[side]["docs"][:_DOCS_SHOWN], 1)
        ]
        return {"system": example[side]["system"], "docs": docs}

    return {**example, "before": ranked("before", "after"), "after": ranked("after", "before")}
