"""The report as text for a terminal or a log."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from acclimate.base.progress import duration
from acclimate.base.text import columns
from acclimate.measure.measures import MAIN, MEASURES
from acclimate.report import against_reranked, combinations, forgetting, sentences, steering, steps
from acclimate.report.formatting import (
    between,
    excerpt,
    index_size,
    latency,
    milliseconds,
    p_value,
    safe,
    score,
    signed,
    size,
    usd,
)
from acclimate.report.layout import WIDTH, cut, cut_middle, table, wrap

_NAME = 30  # characters of a system's name
_ID = 40  # characters of a document's id
_MEASURES_IN_A_ROW = 6
_DOCS = 3  # documents of an example, each side


def text(report: Mapping[str, Any]) -> str:
    """Verdict, systems, comparisons, stages and warnings."""
    report = safe(report)
    parts = [_verdict(report), _steps(report), _systems(report), _combinations(report), _outside(report)]
    parts += [_comparisons(report), _stages(report["stages"])]
    parts.append("\n".join(wrap(against_reranked.sentence(trade)) for trade in report.get("against_reranked", [])))
    parts.append("\n".join(map(wrap, steering.sentences(report))))
    parts.append("\n".join(map(wrap, sentences.spending(report))))
    parts.append("\n".join(wrap(f"warning: {warning}") for warning in report.get("warnings", [])))
    parts = [part for part in parts if part]
    return "\n\n".join(parts) + "\n"


def examples(report: Mapping[str, Any]) -> str:
    """Queries before and after adapting, the first documents of each side."""
    report = safe(report)
    parts: list[str] = []
    for example in report.get("examples", []):
        lines = [cut(f"{MAIN} {signed(example['delta'])}  {_line(example['query'])}")]
        for when in ("before", "after"):
            side = example[when]
            lines.append(cut(f"  {when}  {side['system']}"))
            lines += [_doc(rank, doc) for rank, doc in enumerate(side["docs"][:_DOCS], 1)]
        parts.append("\n".join(lines))
    return "\n\n".join([*_caveat(report), *parts, "* relevant"]) + "\n" if parts else ""


def funnel(manifest: Mapping[str, Any]) -> str:
    """The number of queries left after each filter, from the filter stage's manifest."""
    rows = [["", "queries", "kept", "of all"]]
    before = total = manifest["in"]
    for name, left in [("generate", total), *manifest["notes"]["funnel"]]:
        note = "none dropped" if left == before and name != "generate" else f"{left / max(1, before):.0%}"
        rows.append([name, f"{left:,}", note, f"{left / max(1, total):.0%}"])
        before = left
    return "\n".join(columns(rows, "<>>>"))


def _verdict(report: Mapping[str, Any]) -> str:
    headline = f"{sentences.verdict(report)}: {sentences.headline(report)}."
    numbers = [(what, number, f"({note})") for what, number, note in sentences.evidence(report)]
    return "\n".join(
        [
            wrap(headline),
            wrap(sentences.outcome(report)),
            *(cut("  " + line) for line in (columns(numbers, "<<<") if numbers else [])),
            wrap(f"{sentences.advice(report)} {sentences.reason(report)}".rstrip()),
            wrap(f"{sentences.basis(report)} {sentences.trust(report)}".rstrip()),
        ]
    )


def _steps(report: Mapping[str, Any]) -> str:
    if not report.get("steps"):
        return ""
    rows = [["step", "result", MAIN, "p", "p50", "index", ""]]
    for step in report["steps"]:
        taken = steps.change(step["latency_ms"], milliseconds)
        index = steps.change(step["index_bytes"], size)
        names = (step["step"], cut_middle(step["to"], 16))
        rows.append([*names, signed(step["delta"]), p_value(step["p"]), taken, index, steps.in_a_word(step)])
    return "\n".join(
        [
            cut(f"Gain and cost of each step, starting from {report['steps'][0]['from']}:"),
            *table(rows, "<<>>>><"),
            *_caveat(report),
            wrap(steps.summary(report["steps"])),
        ]
    )


def _systems(report: Mapping[str, Any]) -> str:
    systems = sorted(report["systems"], key=lambda system: -system["measures"][MAIN])
    others, more = _others(systems)
    rows = [["system", MAIN, "95% interval", *others, "p50", "index"]]
    for system in systems:
        interval = system.get("intervals", {}).get(MAIN)
        rows.append(
            [
                cut_middle(system["name"], _NAME) + (" *" if system["name"] == report["recommended"] else ""),
                score(system["measures"][MAIN]),
                between(interval),
                *(score(system["measures"].get(measure)) for measure in others),
                latency(system),
                index_size(system),
            ]
        )
    note = "   ".join(["* recommended", *_caveat(report)])
    notes = [wrap(sentence) for sentence in (sentences.timing(report), sentences.starting_points(report)) if sentence]
    return "\n".join([*table(rows, "<>>" + ">" * len(others) + ">>"), note, *notes, *_more(systems, more)])


def _others(systems: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """The other measures that the table has room for, and those that it does not."""
    others = sorted(systems[0]["measures"], key=lambda measure: measure not in MEASURES)
    others = [measure for measure in others if measure != MAIN]
    return others[:3], others[3:]


def _more(systems: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> Iterator[str]:
    """Further tables, for the measures without room."""
    for start in range(0, len(measures), _MEASURES_IN_A_ROW):
        some = measures[start : start + _MEASURES_IN_A_ROW]
        rows = [["system", *some]]
        rows += [
            [cut_middle(system["name"], _NAME), *(score(system["measures"].get(name)) for name in some)]
            for system in systems
        ]
        yield ""
        yield from table(rows, "<" + ">" * len(some))


def _combinations(report: Mapping[str, Any]) -> str:
    if not report.get("combinations"):
        return ""
    rows = combinations.table(report["combinations"])
    head = " ".join([f"{MAIN} of original and adapted retrievers, with and without a reranker", *_caveat(report)]) + ":"
    missing = combinations.unmeasured(report)
    return "\n".join([wrap(head), *table(rows, "<>>>><"), *([wrap(missing)] if missing else [])])


def _outside(report: Mapping[str, Any]) -> str:
    return "\n".join(wrap(line) for outside in report.get("forgetting", []) for line in forgetting.sentences(outside))


def _comparisons(report: Mapping[str, Any]) -> str:
    rows = [["system", "against", "measure", "delta", "95% interval", "p", "won/lost/tied"]]
    for comparison in report["comparisons"]:
        if comparison["measure"] != MAIN:
            continue  # the others are in report.json and report.html
        interval = " ".join(map(signed, comparison["ci95"]))
        counts = f"{comparison['wins']}/{comparison['losses']}/{comparison['ties']}"
        names = (cut_middle(comparison["system"], 24), cut_middle(comparison["baseline"], 16))
        rows.append(
            [*names, comparison["measure"], signed(comparison["delta"]), interval, p_value(comparison["p"]), counts]
        )
    return "\n".join([*table(rows, "<<<>>>>"), *_caveat(report)])


def _stages(stages: Sequence[Mapping[str, Any]]) -> str:
    rows = [["stage", "read", "kept", "time", "tokens", "cost"]]
    for stage in stages:
        tokens = sum(stage["tokens"].values())
        rows.append(
            [
                stage["name"] + (" (made earlier)" if stage["resumed"] else ""),
                f"{stage['in']:,}",
                f"{stage['out']:,}",
                duration(stage["seconds"]),
                f"{tokens:,}" if tokens else "-",
                usd(stage["cost_usd"]),
            ]
        )
    lines = columns(rows, "<>>>>>")
    return "\n".join([lines[0], *_with_drops(lines[1:], stages)])


def _with_drops(lines: Sequence[str], stages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each stage's line, then what it dropped and why."""
    for line, stage in zip(lines, stages, strict=True):
        yield line
        if drops := ", ".join(f"{reason} {count:,}" for reason, count in stage["dropped"].items() if count):
            yield textwrap.fill(f"dropped: {drops}", WIDTH, initial_indent="    ", subsequent_indent="    ")


def _doc(rank: int, doc: Mapping[str, Any]) -> str:
    mark = "*" if (doc["relevance"] or 0) > 0 else " "
    has_title = doc["title"] not in ("", doc["doc_id"])
    shown = _line(f"{doc['title']}: {doc['text']}" if has_title else doc["text"])
    return cut(f"  {mark} {rank}  {cut_middle(doc['doc_id'], _ID)}  {shown}")


def _line(text: str) -> str:
    return excerpt(text, WIDTH)


def _caveat(report: Mapping[str, Any]) -> list[str]:
    """The line beside scores without people's judgments; empty with them."""
    caveat = sentences.CAVEATS[report["verdict_basis"]]
    return [f"({caveat})"] if caveat else []
