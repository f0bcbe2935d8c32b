"""Have an LLM judge a finished run: choose the queries, call the LLM, report the outcome."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from acclimate.api.budget import Limit, limit
from acclimate.base import distributed
from acclimate.base.arguments import StrPath, path_of, path_text
from acclimate.base.content import Content
from acclimate.base.domains import AtLeast, Between
from acclimate.base.draw import subset
from acclimate.base.errors import DataError, SettingError
from acclimate.base.progress import Shown, shown
from acclimate.base.text import counted, quoted
from acclimate.base.words import query_key
from acclimate.corpus import query_log
from acclimate.corpus.formats import read_qrels, read_queries
from acclimate.corpus.query_log import QueryLog
from acclimate.llm.server.address import check_no_secrets
from acclimate.records import Qrel, Query
from acclimate.report import assemble
from acclimate.report.judgment import text
from acclimate.report.query_notes import left_out
from acclimate.run.settings import whole_number
from acclimate.search.measuring import draw_queries
from acclimate.stages import judge as stage
from acclimate.stages.judge_queries import JudgeQueries
from acclimate.stages.runs import open_run

if TYPE_CHECKING:
    from acclimate.run.run import Run
    from acclimate.stages.chain import Outputs

ENOUGH_QUERIES = 20  # queries that suffice for judging
N = Between(ENOUGH_QUERIES, 200)


class Judgment(Content):
    """An LLM's grades of a run and what follows from them: a mapping with the content of `judge/measured.json`.

    `print` shows it as the command line does.

    >>> judgment = acclimate.open("run").judge(n=20, progress=None)
    >>> judgment["queries"]["split"], sorted(judgment["grades"])
    ('synthetic', ['0', '1', '2', '3'])
    """

    def __init__(self, content: Mapping[str, Any], folder: Path) -> None:
        super().__init__(content)
        self.folder = folder

    def __repr__(self) -> str:
        verdict = self["verdict"] if self["usable"] else "no judge, so no verdict"
        return f"<Judgment of {str(self.folder)!r}: {verdict} by {self['llm']}>"

    def __str__(self) -> str:
        return text(self)


class JudgeOptions(TypedDict, total=False):
    """Options of `judge`, beside the folder."""

    llm: str | None
    queries: StrPath | None
    log: StrPath | None
    grades: StrPath | None
    n: int
    depth: int
    prompt: StrPath
    max_doc_tokens: int
    max_cost: Limit
    max_tokens: Limit
    prices: StrPath | None
    progress: Shown


def judge(
    folder: Path,
    *,
    llm: str | None = None,
    queries: StrPath | None = None,
    log: StrPath | None = None,
    grades: StrPath | None = None,
    n: int = 100,
    depth: int = 10,
    prompt: StrPath = "relevance",
    max_doc_tokens: int = 400,
    max_cost: Limit = None,
    max_tokens: Limit = None,
    prices: StrPath | None = None,
    progress: Shown = "auto",
) -> Judgment:
    """Have an LLM grade the top results of every system of a finished run, and measure the systems by the grades.

    Without labelled queries, the verdict then rests on these grades, and the report is rewritten. Calling it again
    repeats no LLM call. Raises SettingError for an unknown LLM and for one whose answers are not grades, DataError for
    files that cannot be used, LLMError for a server that does not answer, and BudgetExceeded when a limit is reached;
    answers are kept.

    Parameters
    ----------
    llm
        LLM that grades, named as in generate.llm; by default filter.llm.
    queries
        Queries to judge on, as BEIR queries.jsonl. Without `queries` and `log`: the run's labelled test queries; else
        log queries that were not used for training; else the held-out synthetic queries.
    log
        Log of real queries to judge on; see `adapt`. Queries that the run showed or trained on are left out, also of
        `queries`; those that it made choices on come last, and the report says how many.
    grades
        Human grades for some of these queries, as BEIR or TREC qrels, to measure and correct the LLM's agreement with
        people. For labelled queries, their qrels are used.
    n
        Number of queries to judge on, 20 to 200; sampled if there are more.
    depth
        Number of top documents to grade per system, 10 to 100.
    prompt
        relevance, grade, or a TOML file whose target contains {query} and {document}.
    max_doc_tokens
        Maximum tokens of a document that the LLM reads.
    max_cost, max_tokens, prices
        As for `adapt`: limits include what the run's LLMs have used.
    """
    settings = {
        "depth": whole_number(depth, "depth", Between(10, 100)),
        "max_doc_tokens": whole_number(max_doc_tokens, "max_doc_tokens", AtLeast(1)),
        "prompt": path_text(prompt, "prompt"),
    }
    n = whole_number(n, "n", N)
    if queries is not None and log is not None:
        raise SettingError("--queries and --log are alternatives; give one of them")
    run, outputs = open_run(folder, "evaluate")
    settings["llm"] = run.settings["filter"]["llm"] if llm is None else path_text(llm, "llm")
    check_no_secrets({"judge": settings})
    limit(run, max_cost, max_tokens, prices)
    stage.check(run, settings)
    asked = _queries_to_judge(run, outputs, queries, log, grades, n)
    if len(asked.queries) < ENOUGH_QUERIES:
        distributed.warn(
            "judge", f"only {counted(len(asked.queries), 'query')}: only very large differences can be significant"
        )
    if asked.n_learned:
        distributed.warn("judge", left_out(asked.n_learned))
    with run.workspace.lock(), shown(progress):
        graded = stage.make(run, outputs, asked, settings)
        assemble.write(run, outputs)
    return Judgment(graded.measured, folder)


def _queries_to_judge(
    run: Run, outputs: Outputs, queries: StrPath | None, log: StrPath | None, grades: StrPath | None, n: int
) -> JudgeQueries:
    """The queries to judge, those graded by people first: the given ones, else real queries of this collection, else
    synthetic ones that were not trained on.

    Given queries that something learned from are left out, and those that choices were made on are asked about last.
    Raises DataError if there are none, and for grades of other queries.
    """
    measuring, learned = outputs["steer"].measuring(run, outputs["sample"]), _learned(run, outputs)
    people: Sequence[Qrel] = ()
    if queries is not None:
        kind, in_order = "given", _shuffled(read_queries(path_of(queries, "queries")), run.seed)
    elif log is not None:
        kind, in_order = "log", _shuffled_log(query_log.read(path_of(log, "log")), run.seed)
    elif not measuring.is_synthetic or not (unlearned := QueryLog(run.input.unjudged_log.unlike(learned))):
        measured = draw_queries(measuring.queries, run.settings["evaluate"]["max_queries"], run.seed)
        kind, in_order = measuring.split, _shuffled(measured, run.seed)
        people = () if measuring.is_synthetic else measuring.qrels
    else:
        kind, in_order = "log", _shuffled_log(unlearned, run.seed)
    if not in_order:
        raise DataError(
            "no queries to judge on; expected some", path=None if queries is None else path_of(queries, "queries")
        )
    n_given = len(in_order)
    if queries is not None or log is not None:
        in_order = [query for query in in_order if query_key(query.text) not in learned]
    if not in_order:
        raise DataError(
            f"the run showed to its LLM, or trained on, all {counted(n_given, 'query')} here: they would flatter what "
            "learned from them; give others, or none to judge on held-out ones"
        )
    if grades is not None:
        people = _grades(path_of(grades, "grades"), in_order, run)
    by_people = {qrel.query_id for qrel in people}
    chose = _chose(run, outputs)

    def place(query: Query) -> tuple[bool, bool]:
        return query.query_id not in by_people, query_key(query.text) in chose

    asked = sorted(sorted(in_order, key=place)[:n])
    query_ids = {query.query_id for query in asked}
    return JudgeQueries(
        kind,
        asked,
        len(in_order),
        [qrel for qrel in people if qrel.query_id in query_ids],
        n_learned=n_given - len(in_order),
        n_chose=sum(query_key(query.text) in chose for query in asked),
    )


def _shuffled(queries: Sequence[Query], seed: int) -> list[Query]:
    """The queries in random order; drawing fewer gives a prefix of drawing more."""
    return subset(queries, len(queries), seed)


def _shuffled_log(log: QueryLog, seed: int) -> list[Query]:
    """The queries of a log in random order, frequent ones earlier."""
    return [query.as_query() for query in log.draw(len(log), seed)]


def _learned(run: Run, outputs: Outputs) -> set[str]:
    """Keys of the queries that prompts showed, or that students or rerankers may have been trained on."""
    learned = run.input.unjudged_log.draw(run.settings["generate"]["log_examples"], run.seed)
    texts = [query.text for query in learned]
    if labeled := outputs.get("label"):
        texts += [query.text for query in labeled.log_queries]
    if not outputs.keys().isdisjoint({"train", "distill"}):
        texts += [query.text for query in outputs["filter"].sides(outputs["sample"])["train"]]
    return {*map(query_key, texts), *outputs["sample"].shown}


def _chose(run: Run, outputs: Outputs) -> set[str]:
    """Keys of the queries that chose weights, teacher or candidate, or when to stop training."""
    sampled = outputs["sample"]
    queries = [*outputs["steer"].choosing(run, sampled).queries, *outputs["filter"].sides(sampled)["dev"]]
    return {query_key(query.text) for query in queries}


def _grades(path: Path, queries: Collection[Query], run: Run) -> list[Qrel]:
    """People's grades of some of these queries. Raises DataError for grades of others."""
    qrels, query_ids = read_qrels(path), {query.query_id for query in queries}
    known = [qrel for qrel in qrels if qrel.query_id in query_ids]
    if not known:
        raise DataError(
            f"none of its queries, such as {quoted(qrels[0].query_id)}, is among those to judge on, such as "
            f"{quoted(min(query_ids))}; give the graded queries with --queries FILE",
            path=path,
        )
    documents = run.input.documents
    unknown = next((qrel.doc_id for qrel in known if qrel.doc_id not in documents), None)
    if unknown is not None:
        raise DataError(
            f"document {quoted(unknown)} is graded here but is not in the original corpus of the run; remove the "
            "lines of such documents, or judge a run of the current documents",
            path=path,
        )
    return known
