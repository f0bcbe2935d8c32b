"""Evaluation measures per query; and nDCG from ranks, for choices made during a run.

Each measure is always computed by the same library, whatever else is installed (`provider_of`). Ties are broken here,
as in trec_eval, before any library sees the run, since libraries break them differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.base.errors import DataError
from acclimate.base.text import counted
from acclimate.corpus.formats.trec import escaped, unescaped
from acclimate.measure.named import Measure, library, measure_of
from acclimate.records import Qrel, ScoredDoc

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAIN = "nDCG@10"  # the measure that decides
MEASURES = ("nDCG@10", "R@100", "RR@10", "Success@5")
DEEPEST = max(int(measure.partition("@")[2]) for measure in MEASURES)  # deepest rank that any of them reads
_HITS_AT_ONCE = 200_000

PerQuery = dict[str, dict[str, float]]  # measure -> query_id -> value


def per_query(run: Sequence[ScoredDoc], qrels: Sequence[Qrel], measures: Sequence[str] = MEASURES) -> PerQuery:
    """measure -> query_id -> value, over every judged query, as `trec_eval -c` does.

    A query without hits, or without relevant documents, has 0. Hits of other queries are ignored. Equal scores rank by
    doc_id, the larger first. Raises DataError if no judgment is positive and if the run ranks a doc twice or by NaN;
    SettingError for an unknown measure.
    """
    return measured(sorted(run, key=lambda hit: hit.query_id), qrels, measures)


def measured(run: Iterable[ScoredDoc], qrels: Sequence[Qrel], measures: Sequence[str] = MEASURES) -> PerQuery:
    """`per_query` of a run with the hits of a query together, streamed, so that it may be larger than memory."""
    if not measures:
        raise DataError("no measures to compute; expected some, for example nDCG@10")
    if all(qrel.relevance <= 0 for qrel in qrels):
        raise DataError(f"none of the {counted(len(qrels), 'judgment')} is positive; there is no query to measure on")
    by_query: dict[str, list[Qrel]] = {}
    for qrel in sorted(qrels):
        by_query.setdefault(qrel.query_id, []).append(qrel)
    values = {name: dict.fromkeys(by_query, 0.0) for name in measures}
    computed = {name: measure_of(name) for name in measures}
    for hits in _parts(run, by_query):
        judged = [qrel for query_id in dict.fromkeys(hit.query_id for hit in hits) for qrel in by_query[query_id]]
        for name, query_id, value in _computed(hits, judged, computed):
            values[name][query_id] = value
    return values


def _parts(run: Iterable[ScoredDoc], judged: Mapping[str, Any]) -> Iterator[list[ScoredDoc]]:
    """The hits of judged queries, in batches of queries."""
    hits: list[ScoredDoc] = []
    done = set[str]()
    for query_id, ranked in groupby(run, key=lambda hit: hit.query_id):
        if query_id in judged:
            if query_id in done:
                raise DataError(f"the hits of query {query_id!r} do not come together; sort the run by its queries")
            done.add(query_id)
            hits += ranked
        if len(hits) >= _HITS_AT_ONCE:
            yield hits
            hits = []
    if hits:
        yield hits


def _computed(
    hits: Sequence[ScoredDoc], qrels: Sequence[Qrel], measures: Mapping[str, Measure]
) -> Iterator[tuple[str, str, float]]:
    """(measure, query_id, value) for each measure and query."""
    # For trec_eval a document with a grade below 0 (spam, in TREC's web tracks) is one that nobody judged; where a
    # query has no others, pytrec_eval crashes. It ends an id, or the process, at a NUL.
    measurable = {qrel.query_id for qrel in qrels if qrel.relevance >= 0}
    grades = [
        Qrel(
            escaped(qrel.query_id),
            escaped(qrel.doc_id),
            qrel.relevance if qrel.query_id in measurable else 0,
            qrel.iteration,
        )
        for qrel in qrels
    ]
    ranked: dict[str, dict[str, float]] = {}
    for hit in ranks_as_scores(hits):
        ranked.setdefault(escaped(hit.query_id), {})[escaped(hit.doc_id)] = hit.score
    for provider in dict.fromkeys(measure.provider for measure in measures.values()):
        names: dict[Any, list[str]] = {}
        for name, measure in measures.items():
            if measure.provider == provider:
                names.setdefault(measure.computed, []).append(name)
        for metric in library().providers.registry[provider].iter_calc(list(names), grades, ranked):
            for name in names[metric.measure]:
                yield name, unescaped(metric.query_id), float(metric.value)


def ndcg(grades: NDArray[Any], ranks: NDArray[Any], *, k: int = 10) -> NDArray[np.float64]:
    """(...) nDCG@k of rankings of one query, in [0, 1], from arrays; equal to `per_query`'s nDCG@k.

    grades: (n,) of the relevant documents, above 0. ranks: (..., n) their ranks in each ranking, from 1, infinite if
    missing. Gains are grades, discounts log2(1 + rank), as in trec_eval (Järvelin and Kekäläinen, TOIS 2002). 0 if
    nothing is relevant.
    """
    if not len(grades):
        return np.zeros(np.shape(ranks)[:-1])
    best = np.sort(np.asarray(grades, np.float64))[::-1]
    return _dcg(grades, ranks, k) / _dcg(best, np.arange(1, len(best) + 1), k)


def _dcg(grades: NDArray[Any], ranks: NDArray[Any], k: int) -> NDArray[np.float64]:
    return np.where(ranks <= k, grades / np.log2(1.0 + ranks), 0.0).sum(axis=-1)


def provider_of(measure: str) -> str:
    """The library that computes a measure, for the manifest: `pytrec_eval (pytrec_eval-terrier 0.5.11)`."""
    from importlib.metadata import version

    provider = measure_of(measure).provider
    package = "pytrec_eval-terrier" if provider == "pytrec_eval" else "ir_measures"
    return f"{provider} ({package} {version(package)})"


def ranks_as_scores(run: Sequence[ScoredDoc]) -> list[ScoredDoc]:
    """The run sorted by query_id and rank, with scores -1, -2, ... so that none tie.

    Ties are by doc_id, the larger first, as in trec_eval.
    """
    for hit in run:
        if hit.score != hit.score:
            raise DataError(f"query {hit.query_id!r}: the score of doc {hit.doc_id!r} is not a number")
    ranked: list[ScoredDoc] = []
    seen: set[str] = set()
    rank = 0
    by_doc = sorted(run, key=attrgetter("doc_id"), reverse=True)
    by_score = sorted(by_doc, key=attrgetter("score"), reverse=True)
    for hit in sorted(by_score, key=attrgetter("query_id")):
        if not ranked or ranked[-1].query_id != hit.query_id:
            rank, seen = 0, set()
        if hit.doc_id in seen:
            raise DataError(f"query {hit.query_id!r}: doc {hit.doc_id!r} is in the run twice")
        seen.add(hit.doc_id)
        rank += 1
        ranked.append(ScoredDoc(hit.query_id, hit.doc_id, -float(rank)))
    return ranked


def nothing_relevant(qrels: Sequence[Qrel]) -> int:
    """Number of judged queries without relevant documents, which count 0 for every system."""
    return len({qrel.query_id for qrel in qrels} - {qrel.query_id for qrel in qrels if qrel.relevance > 0})
