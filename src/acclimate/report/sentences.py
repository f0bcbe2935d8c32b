"""Sentences of a report: the verdict, its basis, what to serve, what was spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acclimate.base.text import counted
from acclimate.corpus.judged_queries import SYNTHETIC
from acclimate.measure.compare import ALPHA, ERROR_WITHOUT_LABELS
from acclimate.measure.measures import MAIN
from acclimate.measure.recommend import CLOSE, effort
from acclimate.report.formatting import milliseconds, p_value, score, signed, size, usd
from acclimate.search.names import FIRST_STAGE, KINDS_WITHOUT_BASE, SystemName

_RANKS = {
    "WIN": "ranks better than",
    "NO DIFFERENCE": "shows no significant difference from",
    "REGRESSION": "ranks worse than",
}
_CHANCE = {
    "WIN": "The difference is significant.",
    "NO DIFFERENCE": "The difference may be due to chance.",
    "REGRESSION": "The difference is significant.",
}
_YOU_HAVE = "What you have without acclimate: BM25, dense retrieval, and hybrid (their reciprocal rank fusion)"
_YOUR_RUN = f"; and {FIRST_STAGE}, your own run"
_TAKES = (  # by `effort`
    "you have it already",
    "it needs no training",
    "it has a trained retriever but no reranker",
    "all of them use a reranker",
)
# Added to a verdict's name unless people judged.
_RESTS_ON = {"qrels": "", "judge": " by an LLM's grades", "synthetic": " on synthetic queries alone"}
QUERIES = {
    "qrels": "labelled test queries",
    "judge": "queries whose results an LLM graded",
    "synthetic": "held-out synthetic queries",
}
# Printed beside every score unless people labelled the queries.
CAVEATS = {
    "qrels": "",
    "judge": "measured by an LLM's grades, not by people's",
    "synthetic": "measured on held-out synthetic queries, usually optimistic",
}
# On a picture, below a heading that has the whole caveat.
PICTURED = {"qrels": "", "judge": "an LLM's grades", "synthetic": "synthetic queries"}
# The judged queries, by kind.
_JUDGED_ON = {"given": "given queries", "log": "log queries", "synthetic": "held-out synthetic queries"}
_SYNTHETIC = (
    " Scores on such queries are usually too high; expect less on real ones. Differences below "
    f"{score(ERROR_WITHOUT_LABELS)} are within their error and do not count."
)
TUNING = "Students are trained with the settings of the run and with the alternatives in distill.tune, if set."


def key_comparison(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The comparison behind the verdict: candidate against baseline on nDCG@10."""
    return comparison_of(report, report["candidate"])


def comparison_of(report: Mapping[str, Any], system: str) -> Mapping[str, Any] | None:
    """A system's comparison with the baseline on nDCG@10; None if there is none, as for the baseline."""
    wanted = (system, report["baseline"], MAIN)
    rows = (row for row in report["comparisons"] if (row["system"], row["baseline"], row["measure"]) == wanted)
    return next(rows, None)


def verdict(report: Mapping[str, Any]) -> str:
    """`WIN`, `WIN by an LLM's grades`, `WIN on synthetic queries alone`"""
    return report["verdict"] + _RESTS_ON[report["verdict_basis"]]


def trust(report: Mapping[str, Any]) -> str:
    """How far to trust a verdict without people's judgments; empty if people judged."""
    if report["verdict_basis"] == "synthetic":
        return (
            "Nobody asked these queries or judged their results: of the differences found on such queries, human "
            "judgments confirmed three in four on six collections (docs/judging.md). "
            "Real queries are more reliable, from 20 on: have an LLM judge them (acclimate judge --log FILE), or label "
            "some (--queries and --qrels)."
        )
    if report["verdict_basis"] == "judge":
        judgment = report.get("judge", {})
        heard = "There are no human grades, so its agreement with people is unknown; add some with --grades FILE."
        if agreed := judgment.get("agreement"):
            heard = f"People graded {agreed['pairs']:,} of these pairs as well."
        llm = judgment.get("llm", "An LLM")
        return f"{llm} graded what the systems found. {heard} See docs/judging.md for how reliable this is."
    return ""


def judged_on(split: str) -> str:
    """Description of a judgment's queries."""
    return _JUDGED_ON.get(split, f"{split} queries")


def headline(report: Mapping[str, Any]) -> str:
    """`hybrid:tuned ranks better than what you have`"""
    than = "what you have" if _has_untouched(report) else f"{report['baseline']}, the best untrained system"
    return f"{report['candidate']} {_RANKS[report['verdict']]} {than}"


def outcome(report: Mapping[str, Any]) -> str:
    """What the candidate was compared with, and whether chance explains the difference, without numbers."""
    baseline = ""
    if _has_untouched(report):
        yours = _YOUR_RUN if any(system["kind"] == "run" for system in report["systems"]) else ""
        baseline = f"{_YOU_HAVE}{yours}. The best of these is {report['baseline']}. "
    difference = key_comparison(report)
    if report["verdict"] == "NO DIFFERENCE" and difference is not None and difference["p"] < ALPHA:
        if denied := not_confirmed(report):
            return f"{baseline}{denied}"
        least = score(ERROR_WITHOUT_LABELS)
        return f"{baseline}The difference is below {least}, the error of queries that nobody judged."
    return baseline + _CHANCE[report["verdict"]]


def not_confirmed(report: Mapping[str, Any]) -> str:
    """That human grades do not confirm an LLM's verdict; empty if they do, or there are none."""
    if report.get("judge_verdict", report.get("verdict")) == report.get("verdict"):
        return ""
    return "By the LLM's grades alone they differ, but the human grades do not confirm it."


def _has_untouched(report: Mapping[str, Any]) -> bool:
    """False for a report of an earlier version, which compared with a tuned fusion."""
    return any(system.get("untouched") for system in report["systems"])


def starting_points(report: Mapping[str, Any]) -> str:
    """What untrained sparse and static systems and provided runs are; empty if there are none."""
    yours = (
        f"{FIRST_STAGE} is read from its file: its latency and size are unknown, so it is not in the latency plot, and "
        "what reranks it is timed without it."
        if any(system["kind"] == "run" for system in report["systems"])
        else ""
    )
    names = [
        system["name"] for system in report["systems"] if system["kind"] in KINDS_WITHOUT_BASE and not system["adapted"]
    ]
    if not names:
        return yours
    starting = (
        f"{' and '.join(names)}: the starting point of such a student, made from the base and the documents alone, "
        "without queries; counted as not adapted."
    )
    return f"{starting} {yours}".rstrip()


def timing(report: Mapping[str, Any]) -> str:
    """The number of queries with measured latency; empty for an earlier version, which measured all."""
    counts = {
        "reranked" if system["kind"] == "reranked" else "": system["latency_ms"].get("queries", 0)
        for system in report["systems"]
    }
    if not all(counts.values()):
        return ""
    others, reranked = (counts.get(kind) for kind in ("", "reranked"))
    parts = [counted(others, "sampled query")] if others else []
    parts += [f"{reranked:,} for reranked systems"] if reranked and reranked != others else []
    return f"Latency is that of single queries, one at a time: {', '.join(parts)}."


def evidence(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The numbers behind the outcome: (name, number, explanation), in ASCII for any terminal."""
    comparison = key_comparison(report)
    if comparison is None:
        return []
    means = {system["name"]: system["measures"][MAIN] for system in report["systems"]}
    both = f"{score(means[report['baseline']])} -> {score(means[report['candidate']])}"
    low, high = comparison["ci95"]
    won_and_lost = f"{comparison['wins']:,} / {comparison['losses']:,}"
    return [
        (MAIN, both, f"{report['baseline']} -> {report['candidate']}"),
        ("difference", signed(comparison["delta"]), f"95% interval {signed(low)} to {signed(high)}"),
        ("p", p_value(comparison["p"]), "paired randomization test"),
        ("queries better / worse", won_and_lost, f"{comparison['ties']:,} the same"),
    ]


def basis(report: Mapping[str, Any]) -> str:
    """What the systems were measured on, and how the compared ones were chosen."""
    kind = report["verdict_basis"]
    count, of = report["queries"]["count"], report["queries"].get("of", 0)
    queries = counted(max(count, of), QUERIES[kind].replace("queries", "query"), QUERIES[kind])
    queries = f"{count:,} (sampled) of {queries}" if of > count else queries
    others = "what you have" if _has_untouched(report) else "the untrained systems"
    queries += f" ({judged_on(report['queries']['split'])})" if kind == "judge" else ""
    flatter = _SYNTHETIC if report["queries"].get("split") == SYNTHETIC else ""
    return (
        f"Measured on {queries} over {counted(report['corpus']['documents'], 'document')} "
        f"of {report['corpus']['name']}.{flatter} {_candidate_choice(report)}; {report['baseline']} is "
        f"the best of {others} on the evaluation queries themselves, so luck can only favor it."
    )


def _candidate_choice(report: Mapping[str, Any]) -> str:
    """How the candidate was chosen."""
    candidate = report["candidate"]
    if candidate not in report.get("held_out_ndcg", {candidate}):
        return f"{candidate} was set in advance (evaluate.systems), not chosen"
    chosen_on = report.get("chosen_on", "other synthetic queries")
    return f"{candidate} was chosen among the systems of this run on {chosen_on} held out from training"


def advice(report: Mapping[str, Any]) -> str:
    """What to serve, its gain, and its cost."""
    system = next(system for system in report["systems"] if system["name"] == report["recommended"])
    gain = comparison_of(report, system["name"])
    against = f" ({signed(gain['delta'])} against {gain['baseline']}, p {_compared(gain['p'])})" if gain else ""
    return (
        f"Serve {system['name']}: {MAIN} {score(system['measures'][MAIN])}{against} at "
        f"{milliseconds(system['latency_ms']['p50'])} per query (median), index {size(system['index_bytes'])}."
    )


def _compared(p: float) -> str:
    """`= 0.034`, `< 0.001`"""
    return p_value(p) if p < 0.001 else f"= {p_value(p)}"


def reason(report: Mapping[str, Any]) -> str:
    """How the recommendation was made; empty if the report does not say."""
    picked = report.get("recommendation")
    if not picked or "reason" in picked:
        return (picked or {}).get("reason", "")
    means = {system["name"]: system["measures"][MAIN] for system in report["systems"]}
    measured = f"{picked['best']} measured best ({score(means[picked['best']])})"
    not_served = [name for name in means if not SystemName(name).is_servable and means[name] > means[picked["best"]]]
    if not_served:
        measured = (
            f"{' and '.join(not_served)} measured better, but a run cannot answer other queries; of the rest {measured}"
        )
    if not_confirmed(report):
        measured = f"By the LLM's grades alone, which the human grades do not confirm, {measured}"
    if not picked["equals"]:
        return f"{measured}, and every other system is significantly different."
    equals = ", ".join(f"{equal['system']} ({_equality(equal['p'])})" for equal in picked["equals"])
    recommended = next(system for system in report["systems"] if system["name"] == report["recommended"])
    return (
        f"{measured}; not significantly different from it: {equals}. Of these, {recommended['name']} costs least "
        f"({_TAKES[effort(recommended)]}); ties go to the faster system, if it measured less than "
        f"{score(CLOSE)} lower, then to the better one."
    )


def _equality(p: float) -> str:
    """Why two systems count as equal: by chance, or because nobody judged and their difference is within the error."""
    return f"p {_compared(p)}" if p >= ALPHA else f"less than {score(ERROR_WITHOUT_LABELS)} apart"


def spending(report: Mapping[str, Any]) -> list[str]:
    """LLM usage over all sessions of the run, and the cost per kept query."""
    ledger = report.get("ledger")
    if not ledger:
        return []
    lines = [
        f"{usage['stage']}: {usage['llm']}: {counted(usage['calls'], 'call')}, "
        f"{counted(usage['prompt_tokens'], 'token')} read, {usage['completion_tokens']:,} written; "
        + ("cost unknown" if usage["cost_usd"] is None else usd(usage["cost_usd"]))
        for usage in ledger["llms"]
    ]
    kept, cost, tokens = ledger["kept_queries"], ledger["cost_usd"], ledger["tokens"]
    for usage in ledger["llms"]:
        if usage["stage"] == "judge":  # writes no query
            cost = cost and cost - (usage["cost_usd"] or 0.0)
            tokens -= usage["prompt_tokens"] + usage["completion_tokens"]
    if kept and cost:
        each = f"${cost / kept:.6f}".rstrip("0").rstrip(".")
    else:
        each = f"{tokens / kept:,.0f} tokens" if kept else "nothing was kept"
    return [*lines, f"Per kept query: {each} ({kept:,} of {ledger['written_queries']:,} kept)"]


def funnel(report: Mapping[str, Any]) -> str:
    """`Of 1,000 answers, 819 were queries, and 687 of these were kept.`"""
    generated, filtered = (
        next((stage for stage in report["stages"] if stage["name"] == name), None) for name in ("generate", "filter")
    )
    if not generated or not filtered:
        return ""
    texts = generated["out"] + sum(generated["dropped"].values())
    written = counted(generated["out"], "was a query", "were queries")
    kept = counted(filtered["out"], "of these was kept", "of these were kept")
    return f"Of {counted(texts, 'answer')}, {written}, and {kept}."
