"""`report.json` and `report.html` from what the stages left in their folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acclimate.base.files import read_json, read_jsonl, write_json, write_text
from acclimate.corpus.formats import read_synthetic
from acclimate.learn.teachers.selection import teacher_warnings
from acclimate.measure.measures import MAIN
from acclimate.report import sentences
from acclimate.report.against_reranked import trades
from acclimate.report.choices import choices
from acclimate.report.html import render
from acclimate.run.manifests import versions
from acclimate.run.workspace import Made
from acclimate.search.names import SystemName
from acclimate.stages.train import collapse

if TYPE_CHECKING:
    from acclimate.run.run import Run

EXAMPLES = 5
EXAMPLE_DOCS = 5
SAMPLED_QUERIES = 20
FEW_QUERIES = 30
_CUT = 300  # characters of a document's text that a reader needs


def write(run: Run, made: Mapping[str, Made]) -> dict[str, Any]:
    """Write both files beside the stages and return the report."""
    measured = read_json(made["evaluate"].folder / "measured.json")
    chosen = read_json(made["evaluate"].folder / "chosen.json")
    split = made["evaluate"].notes["split"]
    report: dict[str, Any] = {
        **measured,
        "verdict_basis": "synthetic" if split == "synthetic" else "qrels",
        "chosen_on": chosen["on"],
        "held_out_ndcg": chosen["ndcg"],
        "stages": [_stage(one) for one in made.values()],
        "recipe": run.recipe,
        "settings": run.summary["settings"],
        "seed": run.seed,
        "versions": versions(),
        "corpus": {"name": run.collection_name, "documents": len(run.documents)},
        "queries": {"count": made["evaluate"].manifest["out"], **made["evaluate"].notes},
        "models": {
            "llm": run.settings["generate"]["llm"],
            "encoder": run.settings["distill"]["base"],
            "reranker": run.settings["train"]["base"],
        },
        "ledger": _ledger(run, made),
        "teachers": made["label"].notes["teachers"],
        "students": dict(made["distill"].notes),
        "tried": choices(made["label"].notes, chosen, made["distill"].notes),
        "against_reranked": trades(measured["systems"]),
        "examples": [row for _, row in read_jsonl(made["evaluate"].folder / "examples.jsonl")],
        "generated_sample": _generated(run, made),
        "warnings": _warnings(run, made, measured),
    }
    report["recommendation"]["reason"] = sentences.why(report)
    write_json(run.workspace.folder / "report.json", report)
    write_text(run.workspace.folder / "report.html", render(report))
    return report


def _stage(made: Made) -> dict[str, Any]:
    keys = ("in", "out", "dropped", "seconds", "tokens", "cost_usd")
    return {"name": made.name, **{key: made.manifest[key] for key in keys}, "resumed": made.resumed}


def _ledger(run: Run, made: Mapping[str, Made]) -> dict[str, Any]:
    """What LLMs were asked for, over every time that the run was begun, by stage, and what came of it."""
    llms = [
        {
            "stage": stage,
            "llm": name,
            **used._asdict(),
            "cost_usd": run.budget.cost(name, {"prompt": used.prompt_tokens, "completion": used.completion_tokens}),
        }
        for (stage, name), used in run.ledger().items()
    ]
    costs = [one["cost_usd"] for one in llms]
    return {
        "llms": llms,
        "tokens": sum(one["prompt_tokens"] + one["completion_tokens"] for one in llms),
        "cost_usd": None if None in costs else round(sum(costs), 6),
        "written_queries": made["generate"].manifest["out"],
        "kept_queries": made["filter"].manifest["out"],
    }


def _generated(run: Run, made: Mapping[str, Made]) -> list[dict[str, Any]]:
    """Synthetic queries, evenly spread, with the filter's reason where they were dropped."""
    reasons = {row["query_id"]: row["reason"] for _, row in read_jsonl(made["filter"].folder / "scores.jsonl")}
    queries = list(read_synthetic(made["generate"].folder / "queries.jsonl"))
    step = max(1, len(queries) // SAMPLED_QUERIES)
    return [
        {
            "query": query.text,
            "doc_id": query.doc_id,
            "doc_text": run.corpus[query.doc_id].default_text()[:_CUT],
            "logprob": round(query.logprob, 3) if query.logprob == query.logprob else None,
            "kept": reasons[query.query_id] is None,
            "reason": reasons[query.query_id] or "",
        }
        for query in queries[::step][:SAMPLED_QUERIES]
    ]


def _warnings(run: Run, made: Mapping[str, Made], measured: Mapping[str, Any]) -> list[str]:
    """What a reader should know before believing the rest."""
    warnings: list[str] = []
    if run.documents.blank:
        warnings.append(f"{len(run.documents.blank)} documents have neither title nor text.")
    warnings += made["index"].notes.get("warnings", [])
    count = made["evaluate"].manifest["out"]
    if count < FEW_QUERIES:
        warnings.append(f"Only {count} queries were measured: all but very large differences are lost in chance.")
    warnings += sentences.of_queries(made["evaluate"].notes, count)
    scores = {one["name"]: one["measures"][MAIN] for one in measured["systems"]}
    for name, score in scores.items():
        base = scores.get(SystemName(name).origin)
        if base is not None and score < base:
            warnings.append(f"{name} ranks worse ({score:.3f}) than what it was made from ({base:.3f}).")
    teacher = next(row for row in made["label"].notes["teachers"] if row["name"] == "teacher")
    best = max((row for row in made["label"].notes["teachers"] if row is not teacher), key=lambda row: row["nDCG@10"])
    if teacher["nDCG@10"] <= best["nDCG@10"]:
        warnings.append(
            f"On the held-out queries the teacher ({teacher['nDCG@10']:.3f}) ranks no better than one of its "
            f"members, {best['name']} ({best['nDCG@10']:.3f})."
        )
    trained = made["train"].notes
    rerankers = [*trained["rerankers"], *([trained["merged"]] if "merged" in trained else [])]
    warnings += [collapse(note) for note in rerankers if note["collapsed"]]
    warnings += teacher_warnings(made["label"].notes, run.student_kinds)
    if shown := made["generate"].notes.get("examples"):
        left_out = made["evaluate"].manifest["dropped"].get("example of a prompt", 0)
        warnings.append(
            f"{shown} queries were shown to the LLM as examples of the task: their documents got no other query, and "
            f"{left_out} of the queries to measure on were left out for it."
        )
    warnings.append("No queries from outside this collection were measured: expect nothing there.")
    return warnings
