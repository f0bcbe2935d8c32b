"""Show learning curves: a table, one sentence per curve, and a page with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acclimate.base.files import write_json, write_text
from acclimate.measure.compare import ALPHA, ERROR_WITHOUT_LABELS
from acclimate.report.formatting import between, p_value, safe, score
from acclimate.report.layout import cut, table, wrap
from acclimate.report.pictures.curve import learning_curve
from acclimate.report.template import template

MUCH = 0.02  # gain in nDCG@10 that is worth more labelling
RULE = (
    f"A gain counts if a paired randomization test gives p < {ALPHA} on queries that were not used for choices; the "
    "held-out ones chose epochs and weights. Without a significant gain, more data will hardly help if even the upper "
    f"end of the interval is below {MUCH}; otherwise these queries cannot tell. On synthetic queries, differences "
    f"below {ERROR_WITHOUT_LABELS} do not count."
)
DRAWN = (
    "Subsets are sampled by query id and nested. Bands are 95% intervals over queries; the dashed line is the start, "
    "without training."
)
SYNTHETIC = "the held-out queries are synthetic: scores on them are usually too high."
WHAT = {"queries": "synthetic queries that train the reranker", "lists": "labelled lists that train the students"}
UNTRAINED = {"queries": "without reranker", "lists": "untrained"}


def write(curves: Mapping[str, Any], folder: Path) -> Path:
    """Write `curve.json` and `curve.html` to a run's folder; returns the page's path."""
    write_json(folder / "curve.json", {**curves, "sentences": sentences(curves), "rule": RULE})
    write_text(folder / "curve.html", page(curves))
    return folder / "curve.html"


def text(curves: Mapping[str, Any]) -> str:
    """A table of every point, and what follows from it."""
    curves = safe(curves)
    sets = curves["sets"]
    rows = [["trained on", "system", *(cell for name in sets for cell in (name, "95% interval"))]]
    for curve in curves["curves"]:
        for count, point in _rows(curve):
            cells = [cell for name in sets for cell in _cells(point[name])]
            rows.append([count, curve["system"], *cells])
    titles = [f"{name}: {title(curves, name)}" for name in sets]
    lines = [*table(rows, "><" + ">>" * len(sets)), *map(cut, titles)]
    paragraphs = ["\n".join(lines), *map(wrap, [*sentences(curves), RULE])]
    return "\n\n".join(paragraphs) + "\n"


def title(curves: Mapping[str, Any], name: str) -> str:
    """The name of a set of queries beside its scores; warns that synthetic ones are too favorable."""
    queries = curves["sets"][name]
    which = queries["name"].replace(" ", " held-out ", 1) if name == "held-out" else queries["name"]
    return f"{curves['measure']} on {which}" + (", usually optimistic" if queries["synthetic"] else "")


def sentences(curves: Mapping[str, Any]) -> list[str]:
    """One sentence per curve: what the last step gained, and whether more data would help."""
    nothing = {"name": "", "synthetic": False}
    sets = [curves["sets"][curve["last"]["on"]] if curve["last"] else nothing for curve in curves["curves"]]
    return [
        sentence(curve, queries["name"], ERROR_WITHOUT_LABELS if queries["synthetic"] else 0.0)
        for curve, queries in zip(curves["curves"], sets, strict=True)
    ]


def sentence(curve: Mapping[str, Any], queries: str, least: float = 0.0) -> str:
    """What the last step of a curve gained on queries that chose nothing, and whether more would help.

    least: the smallest difference that counts on them.
    """
    unit, system, last = curve["unit"], curve["system"], curve["last"]
    if last is None and len(curve["points"]) > 1:
        return f"{system}: all queries were used for choices, so the change in the last step may be due to chance."
    if last is None:
        return f"{system}: a single point shows no trend; give more numbers, or get more {unit}."
    delta = last["delta"]
    moved = "did not change" if not round(delta, 3) else f"{'gained' if delta > 0 else 'lost'} {abs(delta):.3f}"
    p = p_value(last["p"]).removeprefix("< ")
    chance = f"p {'<' if last['p'] < 0.001 else '='} {p} on {queries}"
    step = f"from {last['from']:,} to {last['to']:,} {unit} {system} {moved}"
    if last["p"] < ALPHA and abs(delta) < least:
        return f"{step}, less than the error of synthetic queries, {least} ({chance}): they cannot tell."
    if last["p"] < ALPHA and delta > 0:
        return f"{step}, significantly ({chance}): more {unit} should help further."
    if last["p"] < ALPHA and delta < 0:
        return f"{step}, significantly ({chance}): more {unit} like these do harm."
    if last["ci95"][1] < MUCH:
        return f"{step}, not significantly ({chance}): more {unit} will hardly help."
    return f"{step}, not significantly ({chance}): these queries cannot tell whether more {unit} help."


def page(curves: Mapping[str, Any]) -> str:
    """The page, from the content of curve.json."""
    curves = safe(curves)
    return template("curve.html.jinja").render(curves=curves, drawn=template_values(curves))


def template_values(curves: Mapping[str, Any]) -> dict[str, Any]:
    """Template values for curves: sentences, explanations, and one picture per system and set of queries."""
    names = list(curves["sets"])
    parts = []
    for unit, what in WHAT.items():
        learned = [curve for curve in curves["curves"] if curve["unit"] == unit]
        pictures = [
            (
                curve,
                [
                    learning_curve(curve, name, unit, key=f"{unit}-{place}-{number}")
                    for number, name in enumerate(names)
                ],
            )
            for place, curve in enumerate(learned)
        ]
        if learned:
            parts.append((what, unit, pictures))
    return {
        "sentences": [said[0].upper() + said[1:] for said in sentences(curves)],
        "how_to_read": f"{RULE} {DRAWN}",
        "caveat": SYNTHETIC if curves["sets"]["held-out"]["synthetic"] else "",
        "titles": [title(curves, name) for name in names],
        "parts": parts,
        "rows": lambda curve: [(count, [point[name] for name in names]) for count, point in _rows(curve)],
    }


def _rows(curve: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """(training size in words, point), in ascending order."""
    unit = curve["unit"]
    untrained = [(UNTRAINED[unit], curve["untrained"])] if curve["untrained"] else []
    return [*untrained, *((f"{point[unit]:,} {unit}", point) for point in curve["points"])]


def _cells(point: Mapping[str, Any]) -> tuple[str, str]:
    return score(point["nDCG@10"]), between(tuple(point["interval"]))
