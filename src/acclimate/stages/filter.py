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
from typing import Annotated, Any, NamedTuple, Protocol

from acclimate.base.domains import AtLeast, Between, OneOf
from acclimate.base.errors import SettingError
from acclimate.corpus.near_duplicates import NearDuplicateQueries
from acclimate.records import SyntheticQuery
from acclimate.run.settings import checked

NAMES = ("duplicates", "logprob", "round-trip", "teacher", "reranker", "percentile", "judge")
DEFAULT = ("duplicates", "logprob", "round-trip")
RETRIEVERS = ("hybrid", "bm25", "dense", "late-interaction", "trained")
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


class Filtered(NamedTuple):
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
    retriever: Annotated[str, OneOf(RETRIEVERS)] = "hybrid",
    min_difference: Annotated[float, Between(0, 1)] = 0.2,
    reranker: str = "",
    min_percentile: Annotated[float, Between(0, 100)] = 25.0,
    percentile_of: Annotated[str, OneOf(SCORES)] = "logprob",
    llm: str = "embedded:smollm2-135m-instruct",
    judge: str = "grade",
    min_grade: Annotated[int, Between(1, 3)] = 2,
) -> Filtered:
    """Keep the queries that pass every named filter.

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
            found = {
                "rank": lambda: judges.ranks(retriever, missing, max(DEPTH, round_trip_k)),
                "teacher_rank": lambda: judges.ranks("teacher", missing, DEPTH),
                "reranker": lambda: judges.rerank(reranker, missing),
                "grade": lambda: judges.grade(llm, judge, missing),
            }[score]()
            of.update(zip((query.query_id for query in missing), found, strict=True))
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
        dropped = _beyond(keep_top_k, kept, of)
        if dropped and all(math.isnan(of[query.query_id]) for query in kept):
            raise SettingError(f"no query has a {score} to choose the best {keep_top_k:,} by; leave that filter out")
        return dropped

    def graded(kept: list[SyntheticQuery]) -> set[str]:
        of = ask("grade", kept)
        if kept and all(math.isnan(of[query.query_id]) for query in kept):
            raise SettingError(f"filter.judge: {llm} gave no grade that could be read, to any of {len(kept):,} queries")
        return {query.query_id for query in kept if not of[query.query_id] >= min_grade}

    drops: Mapping[str, Callable[[list[SyntheticQuery]], set[str]]] = {
        "duplicates": lambda kept: near_duplicates(kept, min_difference),
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
    return Filtered(kept, counts, judged, funnel)


def check_filters(*, filters: Sequence[str], reranker: str, percentile_of: str, **_: Any) -> None:
    """Raises SettingError for a filter that lacks what it needs, before hours of other work."""
    if not reranker and ("reranker" in filters or ("percentile" in filters and percentile_of == "reranker")):
        raise SettingError("filter.reranker names no model; expected a cross-encoder's path or Hugging Face id")


def near_duplicates(queries: Sequence[SyntheticQuery], min_difference: float) -> set[str]:
    """Ids of queries whose words are nearly those of a query with a higher log-probability, or that have none."""
    kept = NearDuplicateQueries({query.query_id: query.text for query in queries}, min_difference)
    dropped: set[str] = set()
    for query in _best_first(queries, {query.query_id: query.logprob for query in queries}):
        if not kept.words[query.query_id] or kept.matches(query.query_id):
            dropped.add(query.query_id)
        else:
            kept.add(query.query_id)
    return dropped


def _beyond(k: int, queries: Sequence[SyntheticQuery], scores: Mapping[str, float]) -> set[str]:
    """The queries that are not among the k best."""
    return {query.query_id for query in _best_first(queries, scores)[k:]}


def _best_first(queries: Sequence[SyntheticQuery], scores: Mapping[str, float]) -> list[SyntheticQuery]:
    """By score; queries without one last; ties by id."""

    def key(query: SyntheticQuery) -> tuple[float, str]:
        score = scores[query.query_id]
        return (math.inf if math.isnan(score) else -score, query.query_id)

    return sorted(queries, key=key)


def _rounded(score: float | None) -> float | None:
    """As JSON has it: infinite ranks and scores that are none become null."""
    if score is None or not math.isfinite(score):
        return None
    return int(score) if score == int(score) else round(score, 6)
