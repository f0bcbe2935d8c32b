"""An LLM's grades for a terminal: the verdict by them, how far to trust them, and people's grades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from acclimate.base.text import columns, counted
from acclimate.measure.measures import MAIN
from acclimate.report import sentences
from acclimate.report.formatting import between, p_value, safe, score, share, signed
from acclimate.report.layout import cut_middle, table, wrap
from acclimate.report.query_notes import query_notes

_NAME = 22  # characters of a system's name beside three intervals
_LEVELS = ((0.8, "almost perfect"), (0.6, "substantial"), (0.4, "moderate"), (0.2, "fair"), (0.0, "slight"))


def text(judgment: Mapping[str, Any]) -> str:
    """The verdict, the systems, the grades, and people's if any; for an unusable judge, why it is one."""
    judgment = safe(judgment)
    verdict = f"{judgment['verdict']} by an LLM's grades: {sentences.headline(judgment)}."
    verdict = " ".join(filter(None, (verdict, sentences.not_confirmed(judgment))))
    grades = ["\n".join(map(wrap, remarks(judgment))), _confusion(judgment)]
    parts = [wrap(verdict), _systems(judgment), *grades, _powered(judgment["prediction_powered"])]
    if not judgment["usable"]:
        parts = [wrap(unusable(judgment)), *grades]
    return "\n\n".join(part for part in parts if part) + "\n"


def remarks(judgment: Mapping[str, Any]) -> list[str]:
    """Sentences on what was graded, how the LLM did, and how well people agree with it."""
    queries, counts = judgment["queries"], judgment["grades"]
    by_grade = ", ".join(f"{count:,} of grade {grade}" for grade, count in sorted(counts.items(), reverse=True))
    said = [
        f"{judgment['llm']} graded the top {counted(judgment['depth'], 'document')} of every system for "
        f"{queries['count']:,} {sentences.judged_on(queries['split'])}: {by_grade}."
    ]
    if judgment["unreadable"]:
        said.append(
            f"Of {counted(judgment['pairs'], 'answer')}, {judgment['unreadable']:,} were not a grade; these documents "
            "are excluded from the measured rankings."
        )
    said.append(
        f"It grades the top result above a random document {judgment['told_apart']:.0%} of the time (ties count half)."
    )
    notes = query_notes(queries, queries["count"])
    return [*said, *notes, *own_output(judgment), *agreement(judgment["agreement"])]


def own_output(judgment: Mapping[str, Any]) -> list[str]:
    """That the LLM judged what it had a part in, if it had."""
    stages = " and ".join(judgment.get("also_in", ()))
    return [f"{judgment['llm']} was also used in {stages}, and an LLM favors its own output."] if stages else []


def unusable(judgment: Mapping[str, Any]) -> str:
    """Why the grades decide nothing, and what to do."""
    why = (
        f"of {counted(judgment['pairs'], 'answer')}, {judgment['unreadable']:,} were not a grade"
        if judgment["unreadable"] > judgment["pairs"] / 2
        else "it hardly distinguishes top results from random documents"
    )
    return (
        f"{judgment['llm']} cannot judge these documents: {why}. The report does not use its grades; use a "
        "better LLM (acclimate judge --llm)."
    )


def agreement(agreed: Mapping[str, Any] | None) -> list[str]:
    """How well people and the LLM agree."""
    if agreed is None:
        return [
            "There are no human grades of these pairs, so agreement with people is unknown; add some: --grades FILE."
        ]
    kappa, interval = agreed["weighted"]["kappa"], agreed["weighted"]["ci95"]
    graded = f"People graded {agreed['pairs']:,} of these pairs, for {counted(agreed['queries'], 'query')}"
    if kappa is None:
        return [f"{graded}, but one of the two gave them all the same grade, so no agreement can be computed."]
    level = next((name for least, name in _LEVELS if kappa >= least), "no")
    what = "on what is relevant" if agreed["binary"] else "linearly weighted"
    plain = "" if agreed["binary"] else f"; unweighted {agreed['plain']['kappa']:.2f}"
    return [
        f"{graded}; the LLM gave the same grade to {share(agreed['same'])}. Cohen's kappa {what}: {kappa:.2f} (95% "
        f"interval {interval[0]:.2f} to {interval[1]:.2f}{plain}), {level} agreement."
    ]


def _systems(judgment: Mapping[str, Any]) -> str:
    systems = sorted(judgment["systems"], key=lambda system: -system["measures"][MAIN])
    against = {
        row["system"]: row
        for row in judgment["comparisons"]
        if (row["baseline"], row["measure"]) == (judgment["baseline"], MAIN)
    }
    rows = [["system", MAIN, "95% interval", f"against {judgment['baseline']}", "p"]]
    for system in systems:
        row = against.get(system["name"])
        difference = [signed(row["delta"]), p_value(row["p"])] if row else ["", ""]
        rows.append([system["name"], score(system["measures"][MAIN]), between(system["intervals"][MAIN]), *difference])
    return "\n".join(table(rows, "<>>>>"))


def _confusion(judgment: Mapping[str, Any]) -> str:
    if judgment["agreement"] is None:
        return ""
    counts = judgment["agreement"]["confusion"]
    rows = [["people \\ LLM", *map(str, range(len(counts)))]]
    rows += [[str(grade), *(f"{count:,}" for count in row)] for grade, row in enumerate(counts)]
    return "\n".join(columns(rows, "<" + ">" * len(counts)))


def _powered(powered: Sequence[Mapping[str, Any]]) -> str:
    """Means and differences corrected by people's grades."""
    if not powered:
        return ""
    first = powered[0]
    rows = [["system", MAIN, "95% interval", "people alone", "95% interval", "difference", "95% interval"]]
    for row in powered:
        difference = row.get("difference")
        ours = [signed(difference["mean"]), " ".join(map(signed, difference["ci95"]))] if difference else ["", ""]
        theirs = [score(row["by_people"]), between(row["ci95_by_people"])]
        rows.append([cut_middle(row["system"], _NAME), score(row["mean"]), between(row["ci95"]), *theirs, *ours])
    by_people = f"human grades of {counted(first['people_queries'], 'query')}"
    head = f"Prediction-powered: {by_people} correct the LLM's grades of {first['judged_queries']:,} more."
    if not first["judged_queries"]:
        head = f"By {by_people}, which are all, so that the LLM's grades count nothing here:"
    return "\n".join([wrap(head), *table(rows, "<>>>>>>")])
