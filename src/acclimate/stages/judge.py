"""An LLM grades the top results of a finished run's systems, which are then measured on these grades.

The first documents of every system are pooled, as in TREC, so that no system has ungraded results at the top. Grades
follow UMBRELA (Upadhyay et al., 2024): 0 to 3, one pair at a time. An unreadable answer is removed from the ranking (a
condensed list: Sakai, SIGIR 2007), so it counts neither for nor against a system. For each query one random document is
graded as a control: an LLM that cannot tell it from the top results is not a usable judge, and decides nothing.

If people graded some of the queries, the LLM's agreement with them is reported, and their grades correct the LLM's
(`measure.prediction_powered`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from acclimate import llm as llms
from acclimate.base import distributed
from acclimate.base.digests import fingerprint
from acclimate.base.errors import SettingError
from acclimate.base.files import read_json, read_jsonl, write_json, write_jsonl
from acclimate.base.progress import Progress
from acclimate.base.text import counted, quoted
from acclimate.corpus.formats.trec import read_qrels, read_run, write_qrels
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.llm import prompts
from acclimate.llm.grade import ask_grades, read_grade
from acclimate.measure import graded
from acclimate.measure.agreement import agreement
from acclimate.measure.compare import PairedTest, least_difference
from acclimate.measure.evaluation import Evaluation, means
from acclimate.measure.measures import MAIN
from acclimate.records import Qrel, Query, ScoredDoc
from acclimate.run.output import Account, StageOutput
from acclimate.run.run import Run
from acclimate.search.measuring import run_file, write_runs
from acclimate.search.scorers.cached import cached
from acclimate.search.views import Views
from acclimate.stages.authors import stages_with
from acclimate.stages.chain import Outputs
from acclimate.stages.judge_queries import JudgeQueries
from acclimate.stages.pairs import Pair, pairs_of, texts_of
from acclimate.stages.systems import conclusion, contenders, examples, members_of, rerankers

PROBE_PAIRS = 64  # pairs tried first: an LLM that gives no readable grade for any is not asked further
MIN_TOLD_APART = 0.7  # minimum share of pairs in which a top result must be graded above a random document
_K = 100  # depth of a run
_OF_GRADES = (
    "queries llm also_in prompt depth pairs unreadable grades told_apart usable agreement prediction_powered"
).split()


class Graded(StageOutput):
    """An LLM's grades of the systems' top results, and the systems' measures by them."""

    stage = "judge"

    @cached_property
    def measured(self) -> dict[str, Any]:
        """What `Evaluation.for_report` returns, and statistics of the grades; see docs/files.md."""
        return read_json(self.folder / "measured.json")

    @property
    def queries(self) -> list[Query]:
        """The judged queries."""
        return [Query(row["_id"], row["text"]) for _, row in read_jsonl(self.folder / "queries.jsonl")]

    @property
    def evaluation(self) -> dict[str, Any]:
        """The part of `measured` that replaces that of `evaluate` in a report."""
        return {name: value for name, value in self.measured.items() if name not in _OF_GRADES}

    @property
    def account(self) -> dict[str, Any]:
        """The part of `measured` about the grades themselves."""
        return {name: self.measured[name] for name in _OF_GRADES}

    @property
    def before_after(self) -> list[dict[str, Any]]:
        """Example queries with their rankings before and after adapting."""
        return [row for _, row in read_jsonl(self.folder / "examples.jsonl")]


def current(run: Run, outputs: Outputs) -> Graded | None:
    """The judgments of a finished run; None if there are none, or if its systems have changed since."""
    graded = run.output(Graded) if run.workspace.is_made("judge") else None
    is_current = graded is not None and graded.manifest["inputs"]["evaluate"] == outputs["evaluate"].fingerprint
    return graded if is_current else None


def check(run: Run, settings: Mapping[str, Any]) -> None:
    """Raises SettingError or MissingExtra for an unknown prompt or LLM, before anything is searched."""
    prompts.judge(settings["prompt"])
    name = settings["llm"]
    llms.check(name)
    if not llms.is_served(name):
        llms.fingerprint_of(name)
    run.budget.check_names({"judge": name})


def make(run: Run, outputs: Outputs, on: JudgeQueries, settings: Mapping[str, Any]) -> Graded:
    """Grade the top results of every system, and measure the systems on the grades.

    settings: llm, prompt, depth, max_doc_tokens. Raises SettingError if no grade could be read or all are 0, and
    BudgetExceeded; answers so far are kept.
    """
    evaluated = outputs["evaluate"]
    query_ids = {query.query_id for query in on.queries}

    def work(folder: Path, progress: Progress) -> Account:
        if also_in := stages_with(settings["llm"], run, outputs):
            favors = f"{settings['llm']} was also used in {' and '.join(also_in)}, and an LLM favors its own output"
            distributed.warn("judge", f"{favors}; --llm names another")
        runs = _runs(run, outputs, on.queries, folder, progress)
        rows, tokens = _ask(run, on.queries, runs.values(), settings, progress)
        write_jsonl(folder / "pairs.jsonl", rows)
        qrels = [Qrel(row["query_id"], row["doc_id"], row["grade"]) for row in rows if _counts(row)]
        _check_grades(settings["llm"], qrels, rows)
        write_qrels(folder / "qrels.trec", qrels)
        write_jsonl(folder / "queries.jsonl", ({"_id": query.query_id, "text": query.text} for query in on.queries))

        measuring = outputs["steer"].measuring(run, outputs["sample"])
        sources = JudgedQueries(on.kind, on.queries, measuring.qrels).sources
        values = {name: graded.values_of(hits, qrels) for name, hits in runs.items()}
        result = _evaluation(run, outputs, on, sources, values)
        main = {name: by_measure[MAIN] for name, by_measure in values.items()}
        powered = graded.powered(runs, main, on.people, result.baseline, sources)
        write_jsonl(folder / "examples.jsonl", examples(run, result, runs, on.queries, qrels))
        measured = {
            **result.for_report(),
            **graded.confirm(result.verdict, result.candidate, powered),
            **_statistics(on, settings, rows, qrels, runs, run.seed),
            "also_in": also_in,
            "prediction_powered": powered,
        }
        write_json(folder / "measured.json", measured)
        unreadable = measured["unreadable"]
        cost = run.budget.cost(settings["llm"], tokens)
        dropped = {"no grade in the answer": unreadable} if unreadable else {}
        return Account(len(rows), len(rows) - unreadable, dropped, tokens, cost, run.store.asked("judge"))

    inputs = {
        "evaluate": evaluated.fingerprint,
        "queries": fingerprint(on.kind, sorted(on.queries), *([on[-2:]] if any(on[-2:]) else [])),
        "people": fingerprint(sorted(qrel for qrel in on.people if qrel.query_id in query_ids)),
        "llm": llms.fingerprint_of(settings["llm"]),
        "prompt": prompts.judge(settings["prompt"]).fingerprint,
    }
    output = run.workspace.make("judge", work, settings=settings, inputs=inputs, seed=run.seed, unit="pairs")
    return Graded(output.folder, output.manifest, output.resumed)


def _ask(
    run: Run,
    queries: Sequence[Query],
    runs: Iterable[Sequence[ScoredDoc]],
    settings: Mapping[str, Any],
    progress: Progress,
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Lines of `pairs.jsonl`, and the tokens used. Raises SettingError if none of the first answers is a grade."""
    pairs = list(pairs_of(run, queries, graded.pooled(runs, settings["depth"])))
    texts = texts_of(run, queries, pairs)
    with run.store.completions("judge") as completions:
        model = llms.load(settings["llm"])

        def rows_of(n_pairs: int) -> tuple[list[dict[str, Any]], dict[str, int]]:
            answers, tokens = ask_grades(
                pairs[:n_pairs], texts[:n_pairs], completions, model, settings["prompt"], progress,
                max_doc_tokens=settings["max_doc_tokens"],
            )  # fmt: skip
            return list(map(_row, pairs, answers)), tokens

        _check_readable(settings["llm"], rows_of(PROBE_PAIRS)[0])
        return rows_of(len(pairs))


def _runs(
    run: Run, outputs: Outputs, queries: Sequence[Query], folder: Path, progress: Progress
) -> dict[str, list[ScoredDoc]]:
    """Hits of each system for the queries: from `evaluate` if it has them all, else searched now."""
    evaluated, query_ids = outputs["evaluate"], {query.query_id for query in queries}
    names, searched = evaluated.names, evaluated.folder
    drawn = {qrel.query_id for qrel in read_qrels(evaluated.folder / "qrels.trec")}
    measured = outputs["steer"].measuring(run, outputs["sample"]).queries
    if not {*queries} <= {query for query in measured if query.query_id in drawn}:
        searched, names = folder, [name for name in names if name.is_servable]
        if (candidate := evaluated.chosen.candidate) not in names:
            raise SettingError(
                f"judge: the verdict is on {candidate}, which answers only the queries of its run; expected these"
            )
        members, scoring = members_of(run, outputs.get("distill")), rerankers(run, outputs.get("train"))
        with run.store.scores() as kept:
            scorers = cached(scoring, kept, run.input.corpus.fingerprint)
            competing = contenders(run, members, evaluated.chosen, scorers, None, Views())
            total = len(competing) * len(queries)
            write_runs(competing, queries, _K, len(run.input.corpus), folder, lambda done: progress(done, total))
    return {name: [hit for hit in read_run(run_file(searched, name)) if hit.query_id in query_ids] for name in names}


def _row(pair: Pair, answer: str) -> dict[str, Any]:
    """A line of `pairs.jsonl`."""
    grade = read_grade(answer)
    value = int(grade) if grade == grade else None
    said = {} if value is not None else {"answer": answer[:200]}
    return {"query_id": pair.query_id, "doc_id": pair.doc_id, "grade": value, "control": pair.is_control, **said}


def _counts(row: Mapping[str, Any]) -> bool:
    return row["grade"] is not None and not row["control"]


def _check_readable(llm: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not any(_counts(row) for row in rows):
        example = next((row["answer"] for row in rows if "answer" in row), "")
        raise SettingError(
            f"judge: {llm} gave no readable grade to any of {counted(len(rows), 'pair')}; name another with --llm. "
            f"It said: {quoted(example)}"
        )


def _check_grades(llm: str, qrels: Sequence[Qrel], rows: Sequence[Mapping[str, Any]]) -> None:
    _check_readable(llm, rows)
    if not any(qrel.relevance for qrel in qrels):
        raise SettingError(
            f"judge: {llm} graded all {counted(len(qrels), 'pair')} 0; there is nothing to measure on; name another "
            "with --llm"
        )


def _evaluation(
    run: Run, outputs: Outputs, on: JudgeQueries, sources: Mapping[str, str], values: Mapping[str, Any]
) -> Evaluation:
    """The verdict on the run's candidate by these values."""
    test = PairedTest(run.seed, sources, least_difference(on.kind))
    rows = {row["name"]: row for row in outputs["evaluate"].measured["systems"]}
    summaries = [{**rows[name], **means(by_measure, test)} for name, by_measure in values.items()]
    return conclusion(summaries, values, outputs["evaluate"].chosen.candidate, test)


def _statistics(
    on: JudgeQueries,
    settings: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    qrels: Sequence[Qrel],
    runs: Mapping[str, Sequence[ScoredDoc]],
    seed: int,
) -> dict[str, Any]:
    """The part of `measured.json` about the grades. rows: of `pairs.jsonl`. qrels: the grades that count."""
    by_grade = Counter(qrel.relevance for qrel in qrels)
    told_apart, unreadable = _told_apart(rows, runs), sum(row["grade"] is None for row in rows)
    by_people, by_llm = ({(qrel.query_id, qrel.doc_id): qrel.relevance for qrel in of} for of in (on.people, qrels))
    agreed = agreement(by_people, by_llm, seed=seed)
    return {
        "queries": on.account(qrels),
        "llm": settings["llm"],
        "prompt": settings["prompt"],
        "depth": settings["depth"],
        "pairs": len(rows),
        "unreadable": unreadable,
        "grades": {str(grade): by_grade[grade] for grade in range(4)},
        "told_apart": told_apart,
        "usable": _is_usable(told_apart, unreadable, len(rows)),
        "agreement": agreed and agreed.for_report(),
    }  # fmt: skip


def _is_usable(told_apart: float, unreadable: int, n_pairs: int) -> bool:
    """True for an LLM that tells top results from random documents, and whose answers mostly are grades."""
    return told_apart >= MIN_TOLD_APART and unreadable <= n_pairs / 2


def _told_apart(rows: Sequence[Mapping[str, Any]], runs: Mapping[str, Sequence[ScoredDoc]]) -> float:
    """The share of (top result, random document) pairs in which the first has the better grade; ties count half."""
    first = {
        (query_id, hit.doc_id)
        for run in runs.values()
        for query_id, hits in groupby(run, key=lambda hit: hit.query_id)
        for hit in islice(hits, 1)
    }
    ours = np.array([row["grade"] for row in rows if _counts(row) and (row["query_id"], row["doc_id"]) in first])
    theirs = np.array([row["grade"] for row in rows if row["control"] and row["grade"] is not None])
    if not len(ours) or not len(theirs):
        return 0.0
    steps = np.sign(np.subtract.outer(ours, theirs))
    return round(float((steps + 1).mean() / 2), 5)
