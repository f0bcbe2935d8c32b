"""How the report says things: the verdict in plain words, and one way to write each kind of number.

Text from documents and queries is a stranger's: `safe` takes out what could move a terminal's cursor, turn the
reading direction of a page, or not be written as UTF-8 at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acclimate.base.text import clean
from acclimate.search.names import KINDS_WITHOUT_BASE

MAIN_MEASURE = "nDCG@10"

HEADLINES = {
    "WIN": "Adapting helped",
    "NO DIFFERENCE": "Adapting made no difference that can be told from chance",
    "REGRESSION": "Adapting made search worse",
}
QUERIES = {
    "qrels": "labelled test queries",
    "judge": "queries whose results an LLM judged",
    "synthetic": "held-out synthetic queries",
}
# Printed wherever a score is, when people did not label the queries.
CAVEATS = {
    "qrels": "",
    "judge": "relevance judged by an LLM, not by people",
    "synthetic": "measured on held-out synthetic queries, which usually flatter",
}

TUNING = "Students are trained with the settings of the run, and with others where distill.tune names some."


def key_comparison(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The comparison that the verdict rests on: the candidate against the baseline on nDCG@10."""
    wanted = (report["candidate"], report["baseline"], MAIN_MEASURE)
    for comparison in report["comparisons"]:
        if (comparison["system"], comparison["baseline"], comparison["measure"]) == wanted:
            return comparison
    return None


def outcome(report: Mapping[str, Any]) -> str:
    """What happened between the candidate and the baseline, in two sentences without numbers."""
    candidate, baseline = report["candidate"], f"{report['baseline']}, the best system without training"
    return {
        "WIN": f"{candidate} ranks better than {baseline}. Chance rarely gives such a difference.",
        "NO DIFFERENCE": f"{candidate} cannot be told apart from {baseline}. Chance alone could give their difference.",
        "REGRESSION": f"{candidate} ranks worse than {baseline}. Chance rarely gives such a difference.",
    }[report["verdict"]]


def starts(report: Mapping[str, Any]) -> str:
    """What untouched sparse and static systems are, which no base brings; nothing where there are none."""
    names = [one["name"] for one in report["systems"] if one["kind"] in KINDS_WITHOUT_BASE and not one["adapted"]]
    if not names:
        return ""
    return (
        f"{' and '.join(names)}: how such a student starts, made from the base and the documents alone, before it sees "
        "a query; counted as not adapted."
    )


def evidence(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The numbers behind the outcome: (what it is, the number, what to know of it), in ASCII for any terminal."""
    found = key_comparison(report)
    if found is None:
        return []
    means = {system["name"]: system["measures"][MAIN_MEASURE] for system in report["systems"]}
    both = f"{score(means[report['baseline']])} -> {score(means[report['candidate']])}"
    low, high = found["ci95"]
    return [
        (MAIN_MEASURE, both, f"{report['baseline']} -> {report['candidate']}"),
        ("difference", signed(found["delta"]), f"95% interval {signed(low)} to {signed(high)}"),
        ("p", p_value(found["p"]), "how often chance alone gives as much"),
        ("queries better / worse", f"{found['wins']:,} / {found['losses']:,}", f"{found['ties']:,} the same"),
    ]


def basis(report: Mapping[str, Any]) -> str:
    """What it was measured on, and how the systems compared were chosen."""
    kind = report["verdict_basis"]
    caveat = {
        "qrels": "",
        "judge": " An LLM's judgments agree with people's often, not always.",
        "synthetic": " Scores on such queries usually flatter; expect less on real ones.",
    }
    count, of = report["queries"]["count"], report["queries"].get("of", 0)
    number = f"{count:,} (drawn) of {of:,}" if of > count else f"{count:,}"
    return (
        f"Measured on {number} {QUERIES[kind]} over {report['corpus']['documents']:,} documents "
        f"of {report['corpus']['name']}.{caveat[kind]} {report['candidate']} was picked from the adapted systems on "
        f"{report.get('chosen_on', 'other synthetic queries')} held out from training; {report['baseline']} is the "
        "strongest unadapted one on the queries measured."
    )


def advice(report: Mapping[str, Any]) -> str:
    """What to serve, with what it costs."""
    system = next(system for system in report["systems"] if system["name"] == report["recommended"])
    return (
        f"Serve {system['name']}: {MAIN_MEASURE} {score(system['measures'][MAIN_MEASURE])} at "
        f"{milliseconds(system['latency_ms']['p50'])} per query (median), index {size(system['index_bytes'])}."
    )


def why(report: Mapping[str, Any]) -> str:
    """How what is recommended was picked; nothing where a report does not say."""
    picked = report.get("recommendation")
    if not picked:
        return ""
    best = next(system for system in report["systems"] if system["name"] == picked["best"])
    measured = f"{best['name']} measured best ({score(best['measures'][MAIN_MEASURE])})"
    if not picked["equals"]:
        return f"{measured}, and every other system can be told apart from it."
    equals = ", ".join(f"{one['system']} (p = {p_value(one['p'])})" for one in picked["equals"])
    return (
        f"{measured}; not to be told apart from it: {equals}. Of these, what is not adapted goes before what is, then "
        "the faster."
    )


def of_queries(notes: Mapping[str, Any], count: int) -> list[str]:
    """What to know of the queries that measured. notes: of `evaluate`'s manifest."""
    found: list[str] = []
    if empty := notes.get("nothing_relevant", 0):
        found.append(f"{empty:,} of the {count:,} queries have no relevant document: they count 0, as with trec_eval.")
    own = notes.get("identical", {"queries": 0})
    if own["queries"]:
        found.append(
            f"{own['queries']:,} of the {count:,} queries are documents of the collection themselves: "
            + (
                "each is left out of its own results, as BEIR does for ArguAna and Quora."
                if own["left_out"]
                else "they are few, so they are not left out of their own results."
            )
        )
    return found


def safe(value: Any) -> Any:
    """A report with every text in it, keys included, made `clean`."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {safe(key): safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [safe(item) for item in value]
    return value


def excerpt(text: str, limit: int) -> str:
    """At most `limit` characters of `text`, on one line, cut between words where it can be."""
    line = clean(text[: 4 * limit])
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    return (cut[: cut.rfind(" ")] if cut.rfind(" ") > limit // 2 else cut) + "…"


def score(value: float | None) -> str:
    """`0.724`; `-` when there is none."""
    return "-" if value is None else f"{value:.3f}"


def share(value: float | None) -> str:
    """`62.3%`; `-` when there is none."""
    return "-" if value is None else f"{100 * value:.1f}%"


def signed(value: float) -> str:
    """`+0.043`, `-0.012`, and `0.000` when it rounds to that."""
    return f"{value:+.3f}" if round(value, 3) else "0.000"


def between(interval: tuple[float, float] | None) -> str:
    """`0.690-0.752`; nothing when there is no interval."""
    return f"{interval[0]:.3f}-{interval[1]:.3f}" if interval else ""


def p_value(p: float) -> str:
    """`0.034`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def milliseconds(value: float) -> str:
    """`0.42 ms`, `12 ms`, `1.3 s`."""
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.2f} ms" if value < 1 else f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def size(count: float) -> str:
    """`812 B`, `41 MB`, `1.3 GB`; decimal units."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 9.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def spending(report: Mapping[str, Any]) -> list[str]:
    """What each LLM was asked for, over every time that the run was begun, and what a kept query cost."""
    ledger = report.get("ledger")
    if not ledger:
        return []
    lines = [
        f"{one['stage']}: {one['llm']} was asked {one['calls']:,} times, read {one['prompt_tokens']:,} tokens and "
        f"wrote {one['completion_tokens']:,}; "
        + ("cost not known" if one["cost_usd"] is None else usd(one["cost_usd"]))
        for one in ledger["llms"]
    ]
    kept, cost = ledger["kept_queries"], ledger["cost_usd"]
    if kept and cost:
        each = f"${cost / kept:.6f}".rstrip("0")
    else:
        each = f"{ledger['tokens'] / kept:,.0f} tokens" if kept else "nothing was kept"
    return [*lines, f"A kept query: {each} ({kept:,} of {ledger['written_queries']:,} kept)"]


def usd(cost: float | None) -> str:
    """`$0.42`; `-` when nothing was paid for."""
    return "-" if cost is None else f"${cost:,.2f}" if cost >= 0.01 or cost == 0 else "< $0.01"
