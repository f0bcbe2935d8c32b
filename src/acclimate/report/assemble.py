"""Write `report.json` and `report.html` from the outputs of the stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from acclimate.base.files import read_jsonl, write_json, write_text
from acclimate.base.text import counted
from acclimate.corpus.judged_queries import SYNTHETIC
from acclimate.learn.students.distillation import unimproved_warnings
from acclimate.learn.teachers.selection import TEACHER
from acclimate.llm.windows import from_window
from acclimate.measure.compare import least_difference
from acclimate.measure.measures import MAIN
from acclimate.report import combinations, sentences
from acclimate.report import forgetting as forgotten
from acclimate.report.against_reranked import trades
from acclimate.report.basis import Basis
from acclimate.report.choices import choices
from acclimate.report.details import details
from acclimate.report.html import render
from acclimate.report.judgment import own_output, unusable
from acclimate.report.query_notes import query_notes
from acclimate.run.description import plain_settings
from acclimate.run.manifests import versions
from acclimate.run.output import StageOutput
from acclimate.run.updated import LastUpdate
from acclimate.search import approximate
from acclimate.stages import forgetting
from acclimate.stages.chain import Outputs
from acclimate.stages.runs import EarlierVersion, index_fingerprints

if TYPE_CHECKING:
    from acclimate.run.run import Run

PAGE = "report.html"  # the last file written
SAMPLED_QUERIES = 20
FEW_QUERIES = 30
_CUT = 300  # characters shown of a document's text


def write(run: Run, outputs: Outputs) -> dict[str, Any]:
    """Write both files beside the stages, the page last, and return the report.

    Raises EarlierVersion for measurements of one.
    """
    evaluated = outputs["evaluate"]
    chosen = evaluated.chosen
    if any("verdict" not in step for step in evaluated.measured.get("steps", [{}])):
        raise EarlierVersion(run.workspace.folder)
    basis, measured, judgment = Basis.of(run, outputs)
    decides = judgment if basis == "judge" else None
    notes = {name: note for name, note in evaluated.notes.items() if name != "providers"}
    queries = decides.measured["queries"] if decides else {"count": evaluated.manifest["out"], **notes}
    trained = outputs.get("train")
    labeled, distilled = outputs.get("label"), outputs.get("distill")
    report: dict[str, Any] = {
        **measured,
        "verdict_basis": basis,
        "chosen_on": evaluated.chosen_on,
        "held_out_ndcg": chosen.ndcg,
        "steering": {"seen": outputs["steer"].notes["seen"], "disagreement": dict(chosen.disagreement)},
        "stages": [_stage(output) for output in cast(dict[str, StageOutput], outputs).values()],
        "recipe": run.recipe,
        "settings": plain_settings(run),
        "seed": run.seed,
        "versions": versions(),
        "corpus": {"name": run.collection_name, "documents": len(run.input.documents)},
        "queries": queries,
        **({"judge": judgment.account} if judgment else {}),
        "forgetting": forgetting.measurements(run, outputs),
        **({"log": run.input.log.account()} if run.input.log else {}),
        "models": {
            "llm": run.writer,
            "encoder": run.settings["distill"]["base"],
            **({"reranker": trained.notes.get("given", run.settings["train"]["base"])} if trained else {}),
        },
        "ledger": _ledger(run, outputs),
        "teachers": labeled.teachers if labeled else [],
        "students": dict(distilled.notes) if distilled else {},
        "tried": choices(labeled.notes if labeled else None, chosen._asdict(), distilled.notes if distilled else {}),
        "against_reranked": trades(measured["systems"]),
        "combinations": combinations.combinations(measured["systems"]),
        "examples": (decides or evaluated).before_after,
        "generated_sample": _generated(run, outputs),
        "warnings": _warnings(run, outputs, measured, queries),
    }
    if judgment:
        usable = judgment.measured["usable"]
        report["warnings"] += own_output(judgment.measured) if usable else [unusable(judgment.measured)]
    report["verdict_note"] = sentences.trust(report)
    report["recommendation"]["reason"] = sentences.reason(report)
    write_json(run.workspace.folder / "report.json", report)
    write_text(
        run.workspace.folder / PAGE,
        render({**report, **details(run, outputs, decides)}),
    )
    return report


def _stage(output: StageOutput) -> dict[str, Any]:
    keys = ("in", "out", "dropped", "seconds", "tokens", "cost_usd")
    return {"name": output.name, **{key: output.manifest[key] for key in keys}, "resumed": output.resumed}


def _ledger(run: Run, outputs: Outputs) -> dict[str, Any]:
    """LLM usage by stage, summed over all sessions of the run, and the number of kept queries."""
    llms = [
        {
            "stage": stage,
            "llm": name,
            **usage._asdict(),
            "cost_usd": run.budget.cost(name, {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens}),
        }
        for (stage, name), usage in run.store.ledger().items()
    ]
    costs = [usage["cost_usd"] for usage in llms]
    return {
        "llms": llms,
        "tokens": sum(usage["prompt_tokens"] + usage["completion_tokens"] for usage in llms),
        "cost_usd": None if None in costs else round(sum(costs), 6),
        "written_queries": outputs["generate"].manifest["out"],
        "kept_queries": outputs["filter"].manifest["out"],
    }


def _generated(run: Run, outputs: Outputs) -> list[dict[str, Any]]:
    """Synthetic queries, evenly spaced, with the reason if they were dropped."""
    reasons = {row["query_id"]: row["reason"] for _, row in read_jsonl(outputs["filter"].folder / "scores.jsonl")}
    queries = outputs["generate"].queries
    step = max(1, len(queries) // SAMPLED_QUERIES)
    return [
        {
            "query": query.text,
            "doc_id": query.doc_id,
            "doc_text": from_window(run.input.corpus[query.doc_id], outputs["sample"].windows).default_text()[:_CUT],
            "logprob": round(query.logprob, 3) if query.logprob == query.logprob else None,
            "kept": reasons[query.query_id] is None,
            "reason": reasons[query.query_id] or "",
        }
        for query in queries[::step][:SAMPLED_QUERIES]
    ]


def _warnings(run: Run, outputs: Outputs, measured: Mapping[str, Any], queries: Mapping[str, Any]) -> list[str]:
    """What a reader should know before believing the rest."""
    update = LastUpdate.read(run.workspace.folder)
    warnings = update.warnings if update and update.facts["made_of"] == index_fingerprints(outputs) else []
    if run.input.documents.blank:
        warnings.append(
            f"{counted(len(run.input.documents.blank), 'document has', 'documents have')} neither title nor text."
        )
    warnings += outputs["index"].warnings
    count = queries["count"]
    if count < FEW_QUERIES:
        warnings.append(
            f"Only {counted(count, 'query was', 'queries were')} measured: only very large differences can be "
            "significant."
        )
    n_sources = len({*outputs["steer"].measuring(run, outputs["sample"]).sources.values()})
    if queries["split"] == SYNTHETIC and n_sources < FEW_QUERIES <= count:
        warnings.append(
            f"The measured queries were written for {counted(n_sources, 'document')}, and those of "
            "one document count together: only very large differences can be significant."
        )
    warnings += query_notes(queries, count)
    warnings += [
        approximate.recall_sentence(name, recall, len(run.input.corpus))
        for name, recall in outputs["evaluate"].notes.get("approximate_recall", {}).items()
        if recall < approximate.ENOUGH
    ]
    warnings += combinations.harms(measured, least_difference(queries["split"]))
    if labeled := outputs.get("label"):
        warnings += _teacher_warnings(labeled.teachers)
    if trained := outputs.get("train"):
        warnings += trained.warnings
    if labeled:
        warnings += labeled.warnings(run.student_kinds)
    if distilled := outputs.get("distill"):
        warnings += unimproved_warnings(distilled.notes)
    left_out = outputs["evaluate"].manifest["dropped"].get("example of a prompt", 0)
    if shown := outputs["generate"].n_examples:
        warnings.append(
            f"{counted(shown, 'query was', 'queries were')} shown to the LLM as examples of the task: their documents "
            "got no synthetic query, "
            f"and {counted(left_out, 'evaluation query was', 'evaluation queries were')} excluded."
        )
    elif left_out:
        warnings.append(
            f"{counted(left_out, 'evaluation query was', 'evaluation queries were')} excluded, as prompts show "
            "them to the LLM."
        )
    outside = forgetting.measurements(run, outputs)
    if not any(map(forgotten.is_elsewhere, outside)):
        warnings.append(
            "No other collection was measured: adapted retrievers may be worse there (acclimate forgetting)."
        )
    warnings += [warning for measured in outside for warning in forgotten.warnings(measured)]
    return warnings


def _teacher_warnings(teachers: Sequence[Mapping[str, Any]]) -> list[str]:
    """A warning if one member of the teacher ranks as well alone."""
    teacher = next(row for row in teachers if row["name"] == TEACHER)
    best = max((row for row in teachers if row is not teacher), key=lambda row: row[MAIN], default=None)
    if best is None or teacher[MAIN] > best[MAIN]:
        return []
    return [
        f"On the held-out queries the teacher ({teacher[MAIN]:.3f}) ranks no better than one of its "
        f"members, {best['name']} ({best[MAIN]:.3f})."
    ]
