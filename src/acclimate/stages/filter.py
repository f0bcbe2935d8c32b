"""Filters that decide which synthetic queries are worth learning from.

`filter.filters` names them in order; each sees what the one before left, and every dropped query has one reason.

    length       neither too short nor too long (InPars), in tokens of the LLM
    copied       not a verbatim part of its source document (InPars)
    duplicates   not nearly equal to a query with a higher log-probability
    logprob      the LLM's own confidence (InPars v1, arXiv 2202.05144): mean log-probability of its tokens
    round-trip   a retriever finds the source document (Promptagator, arXiv 2209.11755; UDAPDR, arXiv 2303.00807)
    teacher      the fusion of all retrievers ranks the source document first (CADET, arXiv 2505.19274)
    consistency  a reranker trained on all of the queries ranks the source high (InPars-light, arXiv 2301.02998)
    reranker     a reranker's score of query and source document (InPars v2, arXiv 2301.01820)
    percentile   not among the lowest of a score
    judge        an LLM grades how well the document answers the query

Every score is kept, so thresholds can be examined and changed later at no cost. InPars averages the
log-probabilities of the likeliest token at each step, without the last: the same under greedy decoding when a line
break ends the query, but not under sampling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

from acclimate import llm as llms
from acclimate.base import distributed, models
from acclimate.base.domains import AtLeast, Between, OneOf
from acclimate.base.errors import SettingError
from acclimate.base.files import write_jsonl
from acclimate.base.progress import Progress
from acclimate.base.text import counted
from acclimate.base.words import words_of
from acclimate.corpus.formats import read_synthetic, write_synthetic
from acclimate.corpus.near_duplicates import near_duplicate_queries
from acclimate.corpus.sides import SIDES, Side
from acclimate.llm import prompts
from acclimate.llm.grade import MAX_DOC_TOKENS, calls_of_grading
from acclimate.records import SyntheticQuery
from acclimate.run.estimate import SEARCH_FLOP, TRAINING_FACTOR, Estimate, llm_estimate, token_flop
from acclimate.run.output import Account, StageOutput
from acclimate.run.retrievers import ENCODER, RETRIEVERS
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.settings import checked
from acclimate.search.scorers import named
from acclimate.stages.generate import Generated
from acclimate.stages.index import Indexed
from acclimate.stages.raters import TRAINED, Raters, RunRaters
from acclimate.stages.sample import Sampled
from acclimate.stages.selection import Filter, Scores, Selection, select

NAMES = (
    "length",
    "copied",
    "duplicates",
    "logprob",
    "round-trip",
    "teacher",
    "consistency",
    "reranker",
    "percentile",
    "judge",
)
DEFAULT = ("duplicates", "logprob", "round-trip")
CONSISTENCY = "consistency"
BEST = frozenset({"logprob", "reranker"})  # filters that keep the best `keep_top_k` queries
DEPTH = 100  # depth to which ranks are always computed
SCORES = ("logprob", "reranker", "grade")  # scores that percentile_of can name


@checked
def filter_queries(
    queries: Sequence[SyntheticQuery],
    raters: Raters,
    *,
    filters: Annotated[tuple[str, ...], OneOf(NAMES)] = DEFAULT,
    min_tokens: Annotated[int, AtLeast(0)] = 3,
    max_tokens: Annotated[int, AtLeast(1)] = 1000,
    keep_top_k: Annotated[int, AtLeast(1)] = 10_000,
    round_trip_k: Annotated[int, AtLeast(1)] = 20,
    retriever: Annotated[str, OneOf((*RETRIEVERS, TRAINED))] = "hybrid",
    min_difference: Annotated[float, Between(0, 1)] = 0.2,
    consistency_k: Annotated[int, AtLeast(1)] = 3,
    reranker: str = "",
    reranker_tokens: Annotated[int, Between(8, 1_000_000)] = 512,
    min_percentile: Annotated[float, Between(0, 100)] = 25.0,
    percentile_of: Annotated[str, OneOf(SCORES)] = "logprob",
    llm: str = "embedded:smollm2-135m-instruct",
    judge: str = "grade",
    min_grade: Annotated[int, Between(1, 3)] = 2,
) -> Selection:
    """Keep the synthetic queries that pass every filter.

    Raises SettingError for an unknown filter, or for one whose required setting is missing.

    Parameters
    ----------
    filters
        Filters by name, in order: length, copied, duplicates, logprob, round-trip, teacher, consistency, reranker,
        percentile, judge.
    min_tokens
        length: drop queries with fewer tokens of the LLM; words, if it returned no log-probabilities.
    max_tokens
        length: drop queries with more tokens.
    keep_top_k
        logprob, reranker: keep this many queries, those with the highest scores.
    round_trip_k
        round-trip: keep a query if its source document is among the top k results.
    retriever
        round-trip: retriever to search with: hybrid (BM25 and dense, weighted equally), bm25, dense, late-interaction,
        or trained (a dense retriever trained on the queries themselves; Promptagator, with round_trip_k 1).
    min_difference
        duplicates: two queries are duplicates if the Jaccard distance of their words (0 to 1) is below this value.
    consistency_k
        consistency: train a reranker (with the settings of train) on the remaining queries, and keep a query if the
        reranker places its source document in the top k of BM25's first 100.
    reranker
        reranker: a cross-encoder, monoT5 or decoder, by path or Hugging Face id; or a scorer named as in
        label.teachers.
    reranker_tokens
        reranker: maximum tokens of query and document together, or the model's own limit if that is lower; the document
        is truncated.
    min_percentile
        percentile: drop queries whose score is below this percentile (0 to 100) of the remaining queries.
    percentile_of
        percentile: the score to use: logprob, reranker or grade.
    llm
        judge: LLM that grades, named as in generate.llm.
    judge
        judge: prompt that asks for a grade from 0 to 3, by name or TOML file.
    min_grade
        judge: keep queries with this grade or better.
    """
    check_filters(filters=filters, reranker=reranker, percentile_of=percentile_of)

    def grades(queries: Sequence[SyntheticQuery]) -> Sequence[float]:
        answers, n = raters.grade(llm, judge, queries), counted(len(queries), "query")
        if n_unread := sum(map(math.isnan, answers)):
            said = f"{llm} gave no readable grade to"
            if n_unread == len(queries):
                raise SettingError(f"filter.judge: {said} any of {n}")
            distributed.say("filter", f"{said} {n_unread:,} of {n}, which are dropped")
        return answers

    scores = Scores(
        {
            "logprob": lambda queries: [query.logprob for query in queries],
            "tokens": lambda queries: [n_tokens(query) for query in queries],
            "copied": raters.are_copied,
            "rank": lambda queries: raters.ranks(retriever, queries, max(DEPTH, round_trip_k)),
            "teacher_rank": lambda queries: raters.ranks("teacher", queries, DEPTH),
            "consistency_rank": raters.consistency_ranks,
            "reranker": lambda queries: raters.rerank(reranker, queries, reranker_tokens),
            "grade": grades,
        }
    )
    scores.of("logprob", list(queries))
    by_name: dict[str, Filter] = {
        "length": scores.outside("tokens", min_tokens, max_tokens),
        "copied": scores.outside("copied", 0, 0),
        "duplicates": lambda queries: near_duplicate_queries(queries, min_difference),
        "logprob": scores.worse_than_best("logprob", keep_top_k),
        "round-trip": scores.outside("rank", 1, round_trip_k),
        "teacher": scores.outside("teacher_rank", 1, 1),
        "consistency": scores.outside("consistency_rank", 1, consistency_k),
        "reranker": scores.worse_than_best("reranker", keep_top_k),
        "percentile": scores.below_percentile(percentile_of, min_percentile),
        "judge": scores.outside("grade", min_grade, math.inf),
    }
    return select(queries, filters, by_name, scores)


def n_tokens(query: SyntheticQuery) -> int:
    """Tokens of a query as the LLM wrote it (those with a log-probability); its words where these are unknown."""
    return len(query.log_probs) or len(words_of(query.text))


def check_filters(*, filters: Sequence[str], reranker: str, percentile_of: str, **_: Any) -> None:
    """Raises SettingError for a filter whose required setting is missing, before hours of other work."""
    if not reranker and ("reranker" in filters or ("percentile" in filters and percentile_of == "reranker")):
        raise SettingError("filter.reranker names no model; expected the path or Hugging Face id of a reranker")


class Filtered(StageOutput):
    """The queries that passed the filters."""

    stage = "filter"
    kept_nothing = "no query passed the filters"
    advice: ClassVar[Mapping[str, str]] = {
        "logprob": "raise filter.keep_top_k",
        "round-trip": "raise filter.round_trip_k, or leave round-trip out of filter.filters",
        "consistency": "raise filter.consistency_k, or leave consistency out of filter.filters",
        "judge": "lower filter.min_grade",
    }

    @cached_property
    def queries(self) -> list[SyntheticQuery]:
        return list(read_synthetic(self.folder / "queries.jsonl"))

    def sides(self, sampled: Sampled) -> dict[Side, list[SyntheticQuery]]:
        """The queries by the split (train, dev, test) of their source document."""
        sides: dict[Side, list[SyntheticQuery]] = {side: [] for side in SIDES}
        for query in self.queries:
            sides[sampled.splits[query.doc_id]].append(query)
        return sides


def check(run: Run, *, asks: bool) -> None:
    """Raises SettingError for a filter whose required setting is missing. asks: see `chain.check`."""
    settings, base = run.settings["filter"], run.settings["distill"]["base"]
    is_known = asks or models.resolve(base).is_local
    if _trains_retriever(settings) and is_known and models.is_late_interaction(models.folder(base)):
        raise SettingError(
            f"filter.retriever is trained, a dense retriever, and {base} is a late-interaction model; expected "
            "hybrid, bm25, dense or late-interaction"
        )
    if "filter" in run.llms:
        prompts.judge(settings["judge"])
    if distributed.size() > 1:
        if CONSISTENCY in settings["filters"]:
            raise SettingError("filter.filters has consistency, whose reranker needs a single process; start only one")
        if _trains_retriever(settings):
            raise SettingError("filter.retriever is trained, which needs a single process; start only one")
    check_filters(**settings)


def _trains_retriever(settings: Mapping[str, Any]) -> bool:
    """True if round-trip searches with a retriever trained on the queries."""
    return settings["retriever"] == TRAINED and "round-trip" in settings["filters"]


def most_kept(run: Run, n_written: int) -> int:
    """The number of queries that can pass the filters."""
    settings = run.settings["filter"]
    return n_written if BEST.isdisjoint(settings["filters"]) else min(n_written, settings["keep_top_k"])


def estimate(run: Run, n_written: int) -> Estimate:
    """Cost of searching, of rerankers, of a model trained for it, and of a judge that reads whole documents.

    Filters are taken to drop nothing, except those that keep the best `keep_top_k`. Each score is computed once.
    """
    settings, training, n_passes = run.settings["filter"], run.settings["train"], run.settings["distill"]["epochs"]
    n_ways, pair_flop = training["n_ways"] or run.settings["mine"]["n_ways"], token_flop(training["base"])
    n_pairs = DEPTH + TRAINING_FACTOR * training["epochs"] * n_ways
    flop_of = {  # score -> FLOP per query
        "teacher": SEARCH_FLOP,
        "round-trip": SEARCH_FLOP * (1 + TRAINING_FACTOR * n_passes * _trains_retriever(settings)),
        CONSISTENCY: SEARCH_FLOP + pair_flop * training["max_tokens"] * n_pairs,
    }
    if settings["reranker"]:
        flop_of["reranker"] = token_flop(named.split(settings["reranker"])[1]) * settings["reranker_tokens"]
    scored, n_left = dict[str, int](), n_written
    for name in settings["filters"]:
        scored.setdefault({"percentile": settings["percentile_of"], "judge": "grade"}.get(name, name), n_left)
        n_left = min(n_left, settings["keep_top_k"]) if name in BEST else n_left
    flop = sum(flop_of.get(score, 0.0) * count for score, count in scored.items())
    if "grade" not in scored:
        return Estimate(flop)
    calls = calls_of_grading(scored["grade"], settings["judge"], run.settings["generate"]["max_new_tokens"])
    return llm_estimate(settings["llm"], calls, MAX_DOC_TOKENS, flop)


def make(run: Run, indexed: Indexed, sampled: Sampled, generated: Generated) -> Filtered:
    """Filter the generated queries."""
    settings, is_asked = run.settings["filter"], "filter" in run.llms

    def work(folder: Path, progress: Progress) -> Account:
        queries = generated.queries
        raters = RunRaters(run, indexed, sampled, folder, progress)
        result = filter_queries(queries, raters, **settings)
        write_synthetic(folder / "queries.jsonl", result.queries)
        write_jsonl(folder / "scores.jsonl", result.judged)
        account = Account(len(queries), len(result.queries), result.dropped)
        account.notes["funnel"] = [list(step) for step in result.funnel]
        if is_asked:
            account.notes |= run.store.asked("filter")
            account.tokens = raters.tokens
            account.cost_usd = run.budget.cost(settings["llm"], raters.tokens)
        return account

    inputs = {output.name: output.fingerprint for output in (sampled, generated, indexed)} | run.read(*ENCODER)
    inputs[DOCUMENTS] = run.input.corpus.fingerprint
    if is_asked:
        inputs["llm"] = llms.fingerprint_of(settings["llm"])
        inputs["judge"] = prompts.judge(settings["judge"]).fingerprint
    if _trains_retriever(settings):
        inputs |= run.read(*(f"distill.{name}" for name in run.settings["distill"]))
    if CONSISTENCY in settings["filters"]:
        inputs |= run.read(*(f"train.{name}" for name in run.settings["train"]), "mine.n_ways")
        inputs["train.base"] = models.weights_fingerprint(run.settings["train"]["base"])
    if _trains_retriever(settings) or CONSISTENCY in settings["filters"]:
        inputs |= run.read("sample.near_duplicates")
    if settings["reranker"]:
        inputs["reranker"] = named.fingerprint_of(settings["reranker"])
    return run.make(Filtered, work, inputs=inputs, unit="queries")
