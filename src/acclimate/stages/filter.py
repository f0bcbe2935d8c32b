"""Which synthetic queries are worth learning from.

The setting names the filters in their order; each sees what the one before it left, and every drop has one reason.

    duplicates   nearly equal to a query that the LLM was surer of
    logprob      the LLM's own confidence (InPars v1, arXiv 2202.05144)
    round-trip   a retriever finds the source document (Promptagator, arXiv 2209.11755; UDAPDR, arXiv 2303.00807)
    teacher      the fusion of all retrievers ranks the source document first (CADET, arXiv 2505.19274)
    reranker     a reranker's score of query and source document (InPars v2, arXiv 2301.01820)
    percentile   not among the lowest of a score
    judge        an LLM grades how well the document answers the query

Every score is kept, so a threshold can be judged afterwards, and changed at no cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol

from acclimate import llm as llms
from acclimate.base import models
from acclimate.base.domains import AtLeast, Between, OneOf
from acclimate.base.errors import SettingError
from acclimate.base.files import write_jsonl
from acclimate.base.progress import Progress
from acclimate.corpus.formats import read_synthetic, write_synthetic
from acclimate.corpus.near_duplicates import best_first, near_duplicate_queries
from acclimate.corpus.sides import SIDES, Side
from acclimate.llm import prompts
from acclimate.llm.grade import MAX_DOC_TOKENS, calls_of_grading
from acclimate.records import SyntheticQuery
from acclimate.run.estimate import SEARCHING, Estimate, asking
from acclimate.run.output import Account, StageOutput
from acclimate.run.retrievers import ENCODER, RETRIEVERS
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.settings import checked
from acclimate.search import scorers
from acclimate.stages.generate import Generated
from acclimate.stages.index import Indexed
from acclimate.stages.judges import TRAINED, RunJudges
from acclimate.stages.sample import Sampled

NAMES = ("duplicates", "logprob", "round-trip", "teacher", "reranker", "percentile", "judge")
DEFAULT = ("duplicates", "logprob", "round-trip")
DEPTH = 100  # ranks are known so far at least
SCORES = ("logprob", "reranker", "grade")  # that a percentile can be of


class Judges(Protocol):
    """Who is asked about queries; each is loaded when it is first asked, and answers in the order of the queries."""

    def ranks(self, retriever: str, queries: Sequence[SyntheticQuery], depth: int) -> Sequence[float]:
        """From 1, of each source document; infinite where it is not among `depth`. `teacher` is a retriever, too."""
        ...

    def rerank(self, model: str, queries: Sequence[SyntheticQuery]) -> Sequence[float]:
        """A reranker's score of each query with its source document."""
        ...

    def grade(self, llm: str, prompt: str, queries: Sequence[SyntheticQuery]) -> Sequence[float]:
        """An LLM's grade of each, 0 to 3; NaN where its answer is none."""
        ...


class Selection(NamedTuple):
    """What is kept, in the order given, and what was thought of each query."""

    queries: list[SyntheticQuery]
    dropped: dict[str, int]
    judged: list[dict[str, Any]]  # every query: query_id, logprob, other scores (None: not asked), reason
    funnel: list[tuple[str, int]]  # filter -> queries left after it


@checked
def filter_queries(
    queries: Sequence[SyntheticQuery],
    judges: Judges,
    *,
    filters: Annotated[tuple[str, ...], OneOf(NAMES)] = DEFAULT,
    keep_top_k: Annotated[int, AtLeast(1)] = 10_000,
    round_trip_k: Annotated[int, AtLeast(1)] = 20,
    retriever: Annotated[str, OneOf((*RETRIEVERS, TRAINED))] = "hybrid",
    min_difference: Annotated[float, Between(0, 1)] = 0.2,
    reranker: str = "",
    min_percentile: Annotated[float, Between(0, 100)] = 25.0,
    percentile_of: Annotated[str, OneOf(SCORES)] = "logprob",
    llm: str = "embedded:smollm2-135m-instruct",
    judge: str = "grade",
    min_grade: Annotated[int, Between(1, 3)] = 2,
) -> Selection:
    """Keep the synthetic queries that pass every filter.

    Raises SettingError for a filter that does not exist, or that lacks what it needs.

    Parameters
    ----------
    filters
        Filters by name, in order: duplicates, logprob, round-trip, teacher, reranker, percentile, judge.
    keep_top_k
        logprob, reranker: keep this many, those with the highest score.
    round_trip_k
        round-trip: keep a query when its source document is among this many first ones.
    retriever
        round-trip: who searches: hybrid (BM25 and dense, half each), bm25, dense, late-interaction, or trained, a dense
        retriever trained on the queries themselves (Promptagator, with round_trip_k 1).
    min_difference
        duplicates: two queries are the same below this distance of their words (Jaccard, 0 to 1).
    reranker
        reranker: a cross-encoder, by path or Hugging Face id.
    min_percentile
        percentile: drop queries whose score is below this percentile (0 to 100) of those that are left.
    percentile_of
        percentile: of which score: logprob, reranker, or grade.
    llm
        judge: LLM that grades; named as in generate.llm.
    judge
        judge: prompt that asks for a grade from 0 to 3, by name or TOML file.
    min_grade
        judge: keep queries of this grade or better.
    """
    check_filters(filters=filters, reranker=reranker, percentile_of=percentile_of)
    scores: dict[str, dict[str, float]] = {"logprob": {query.query_id: query.logprob for query in queries}}

    def ask(score: str, kept: Sequence[SyntheticQuery]) -> dict[str, float]:
        """The score of each of these queries, asked for where it is not known."""
        of = scores.setdefault(score, {})
        missing = [query for query in kept if query.query_id not in of]
        if missing:
            answers = {
                "rank": lambda: judges.ranks(retriever, missing, max(DEPTH, round_trip_k)),
                "teacher_rank": lambda: judges.ranks("teacher", missing, DEPTH),
                "reranker": lambda: judges.rerank(reranker, missing),
                "grade": lambda: judges.grade(llm, judge, missing),
            }[score]()
            of.update(zip((query.query_id for query in missing), answers, strict=True))
        return of

    def above(score: str, limit: float) -> Callable[[list[SyntheticQuery]], set[str]]:
        return lambda kept: {q.query_id for q in kept if not ask(score, kept)[q.query_id] <= limit}

    def percentile(kept: list[SyntheticQuery]) -> set[str]:
        of = ask(percentile_of, kept)
        known = sorted(of[query.query_id] for query in kept if not math.isnan(of[query.query_id]))
        if kept and not known:
            raise SettingError(f"filter.percentile_of is {percentile_of}, of which no query has one")
        limit = known[min(len(known) - 1, int(len(known) * min_percentile / 100))] if known else 0.0
        return {query.query_id for query in kept if not of[query.query_id] >= limit}

    def best(score: str, kept: list[SyntheticQuery]) -> set[str]:
        of = ask(score, kept)
        dropped = {query.query_id for query in best_first(kept, of)[keep_top_k:]}
        if dropped and all(math.isnan(of[query.query_id]) for query in kept):
            raise SettingError(f"no query has a {score} to choose the best {keep_top_k:,} by; leave that filter out")
        return dropped

    def graded(kept: list[SyntheticQuery]) -> set[str]:
        of = ask("grade", kept)
        if kept and all(math.isnan(of[query.query_id]) for query in kept):
            raise SettingError(f"filter.judge: {llm} gave no grade that could be read, to any of {len(kept):,} queries")
        return {query.query_id for query in kept if not of[query.query_id] >= min_grade}

    drops: Mapping[str, Callable[[list[SyntheticQuery]], set[str]]] = {
        "duplicates": lambda kept: near_duplicate_queries(kept, min_difference),
        "logprob": lambda kept: best("logprob", kept),
        "round-trip": above("rank", round_trip_k),
        "teacher": above("teacher_rank", 1),
        "reranker": lambda kept: best("reranker", kept),
        "percentile": percentile,
        "judge": graded,
    }
    reasons: dict[str, str] = {}
    funnel: list[tuple[str, int]] = []
    kept = list(queries)
    for name in filters:
        dropped = drops[name](kept)
        reasons.update(dict.fromkeys(dropped, name))
        kept = [query for query in kept if query.query_id not in dropped]
        funnel.append((name, len(kept)))
    judged = [
        {
            "query_id": query.query_id,
            **{score: _rounded(of.get(query.query_id)) for score, of in scores.items()},
            "reason": reasons.get(query.query_id),
        }
        for query in queries
    ]
    counts = {name: sum(reason == name for reason in reasons.values()) for name in filters}
    return Selection(kept, counts, judged, funnel)


def check_filters(*, filters: Sequence[str], reranker: str, percentile_of: str, **_: Any) -> None:
    """Raises SettingError for a filter that lacks what it needs, before hours of other work."""
    if not reranker and ("reranker" in filters or ("percentile" in filters and percentile_of == "reranker")):
        raise SettingError("filter.reranker names no model; expected a cross-encoder's path or Hugging Face id")


def _rounded(score: float | None) -> float | None:
    """As JSON has it: infinite ranks and scores that are none become null."""
    if score is None or not math.isfinite(score):
        return None
    return int(score) if score == int(score) else round(score, 6)


class Filtered(StageOutput):
    """The queries that are worth learning from, choosing on and measuring on."""

    stage = "filter"
    kept_nothing = "no query passed the filters"
    advice: ClassVar[Mapping[str, str]] = {
        "logprob": "raise filter.keep_top_k",
        "round-trip": "raise filter.round_trip_k, or leave round-trip out of filter.filters",
        "judge": "lower filter.min_grade",
    }

    @cached_property
    def queries(self) -> list[SyntheticQuery]:
        return list(read_synthetic(self.folder / "queries.jsonl"))

    def sides(self, sampled: Sampled) -> dict[Side, list[SyntheticQuery]]:
        """The queries by the side that their source document is on."""
        sides: dict[Side, list[SyntheticQuery]] = {side: [] for side in SIDES}
        for query in self.queries:
            sides[sampled.splits[query.doc_id]].append(query)
        return sides


def check(run: Run, *, asks: bool) -> None:
    """Raises SettingError for a filter that lacks what it needs. asks: see `chain.check`."""
    settings, base = run.settings["filter"], run.settings["distill"]["base"]
    is_known = asks or models.resolve(base).is_local
    if settings["retriever"] == TRAINED and is_known and models.is_late_interaction(models.folder(base)):
        raise SettingError(
            f"filter.retriever is trained, a dense retriever, and {base} is a late-interaction model; expected "
            "hybrid, bm25, dense or late-interaction"
        )
    if "filter" in run.llms:
        prompts.judge(settings["judge"])
    if settings["reranker"] and models.resolve(settings["reranker"]).is_local:
        scorers.check_rates(settings["reranker"])
    check_filters(**settings)


def estimate(run: Run, n_written: int, n_kept: float) -> Estimate:
    """Of searching for queries, and of a judge that reads each with its whole document."""
    if "filter" not in run.llms:
        return Estimate(SEARCHING * n_kept)
    settings = run.settings["filter"]
    calls = calls_of_grading(n_written, settings["judge"])
    return asking(settings["llm"], calls, MAX_DOC_TOKENS, SEARCHING * n_kept)


def make(run: Run, indexed: Indexed, sampled: Sampled, generated: Generated) -> Filtered:
    """Keep the good ones of the queries that were written."""
    settings, is_asked = run.settings["filter"], "filter" in run.llms

    def work(folder: Path, progress: Progress) -> Account:
        queries = generated.queries
        judges = RunJudges(run, indexed, sampled, folder, progress)
        result = filter_queries(queries, judges, **settings)
        write_synthetic(folder / "queries.jsonl", result.queries)
        write_jsonl(folder / "scores.jsonl", result.judged)
        account = Account(len(queries), len(result.queries), result.dropped)
        account.notes["funnel"] = [list(step) for step in result.funnel]
        if is_asked:
            account.notes |= run.store.asked("filter")
            account.tokens = judges.tokens
            account.cost_usd = run.budget.cost(settings["llm"], judges.tokens)
        return account

    inputs = {output.name: output.fingerprint for output in (sampled, generated, indexed)} | run.read(*ENCODER)
    inputs[DOCUMENTS] = run.input.corpus.fingerprint
    if is_asked:
        inputs["llm"] = llms.fingerprint_of(settings["llm"])
        inputs["judge"] = prompts.judge(settings["judge"]).fingerprint
    if settings["retriever"] == TRAINED:
        inputs |= run.read(*(f"distill.{name}" for name in run.settings["distill"]))
    if settings["reranker"]:
        inputs["reranker"] = models.weights_fingerprint(settings["reranker"])
    return run.make(Filtered, work, inputs=inputs, unit="queries")
