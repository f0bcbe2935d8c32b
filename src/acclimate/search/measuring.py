"""Measure retrievers: nDCG@10 by query, runs for `stages.evaluate`, latencies, and approximate recall."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from acclimate.base import distributed, models
from acclimate.base.draw import subset
from acclimate.corpus.formats.trec import run_writer
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.measure.measures import MAIN, per_query
from acclimate.records import Query, Retriever
from acclimate.search import approximate
from acclimate.search.exclusion import Excluding
from acclimate.search.members import DenseMember, Ids, Member
from acclimate.search.names import SystemName
from acclimate.search.systems import Contender, of_documents, system_of
from acclimate.search.views import blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

RUNS = "runs"
_K = 10
_COMPARED = 100  # queries compared with every document
_PAIRS = 1280  # reranked between two signs of progress at most
_SECONDS = 5.0  # about as many between two signs, if there can be
_TIMED, _TIMED_RERANKED = 100, 20  # queries that are timed


def member_alone(ids: Ids, members: Mapping[str, Member], name: str) -> Retriever:
    """One member as a document retriever."""
    return of_documents(system_of(ids, members, {name: 1.0}), ids)


def ndcg(retriever: Retriever, judged: JudgedQueries) -> dict[str, float]:
    """query_id -> nDCG@10, in [0, 1]. Raises DataError if no query has a relevant document."""
    hits = Excluding(retriever, judged.self_matches.left_out).search(judged.queries, _K)
    # Keep the retriever's order, also for equal scores.
    run = [hit._replace(score=-float(rank)) for rank, hit in enumerate(hits)]
    return per_query(run, judged.qrels, [MAIN])[MAIN]


def mean(values: Mapping[str, float]) -> float:
    """Mean of a non-empty mapping's values."""
    return sum(values[query_id] for query_id in sorted(values)) / len(values)


def approximate_recall(members: Mapping[str, Member], queries: Sequence[Query], seed: int) -> dict[str, float]:
    """Member -> mean `recall` over a sample of queries, for members with an approximate index."""
    recalls: dict[str, float] = {}
    drawn = subset(queries, _COMPARED, seed)
    for name, member in members.items():
        if isinstance(member, DenseMember) and (index := member.vectors.approximate) is not None:
            vectors = [member.encoder.encode([query.text])[0].pooled for query in drawn]
            of_queries = [
                recall(index.pool(vector, approximate.DEPTH), member.vectors.dense_scores(vector[None])[0])
                for vector in vectors
            ]
            recalls[name] = round(sum(of_queries) / len(drawn), 4)
    return recalls


def recall(rows: NDArray[np.int64] | None, scores: NDArray[np.float32]) -> float:
    """The share of a query's hundred nearest documents that are among `rows`. scores: of every document."""
    if rows is None:
        return 1.0
    n_nearest = min(approximate.DEPTH, len(scores))
    last = np.partition(scores, -n_nearest)[-n_nearest]
    return min(n_nearest, int((scores[rows] >= last).sum())) / n_nearest


def draw_queries(queries: Sequence[Query], max_queries: int, seed: int) -> list[Query]:
    """Draw at most `max_queries` queries to measure on (0: all), sorted by id."""
    return sorted(subset(queries, max_queries or len(queries), seed), key=lambda query: query.query_id)


def run_file(folder: Path, system: str) -> Path:
    """Path of a system's run in the stage's folder."""
    return folder / RUNS / f"{SystemName(system).file_name}.trec"


def write_runs(
    contenders: Sequence[Contender],
    queries: Sequence[Query],
    k: int,
    n_docs: int,
    folder: Path,
    progress: Callable[[int], None],
) -> None:
    """Write each system's run, at least `k` docs per query, to its `run_file` in `folder`.

    All systems answer a block of queries before the next, so that they can share views. n_docs: number of searchable
    documents. progress: called with the number of searches done.
    """
    done = 0
    with ExitStack() as files:
        writers = [
            files.enter_context(run_writer(run_file(folder, contender.name), tag=contender.name))
            for contender in contenders
        ]
        for block in blocks(queries, n_docs):
            for contender, write in zip(contenders, writers, strict=True):
                for part in _parts(block, contender.depth):
                    write(contender.retriever.search(part, max(k, contender.name.depth or 0)))
                    done += len(part)
                    progress(done)


def _parts(queries: Sequence[Query], depth: int) -> Iterator[Sequence[Query]]:
    """The queries in parts, each searched before the next is asked for. depth: documents that are reranked.

    Scorers differ in speed by a thousand times, so on a CPU, where scores do not depend on what is searched together,
    parts grow while they are fast.
    """
    most = max(1, _PAIRS // depth) if depth else len(queries)
    is_paced = depth and models.device() == "cpu" and not distributed.is_shared()
    start, at_once = 0, 1 if is_paced else most
    while start < len(queries):
        began = time.monotonic()
        yield queries[start : start + at_once]
        start += at_once
        if is_paced:
            at_once = min(most, 2 * at_once) if time.monotonic() - began < _SECONDS else max(1, at_once // 2)


def n_timed(contender: Contender, queries: Sequence[Query]) -> int:
    """How many queries are timed; fewer for reranked systems, whose latency varies little."""
    return min(len(queries), _TIMED_RERANKED if contender.name.is_reranked else _TIMED)


def latencies(
    contender: Contender, queries: Sequence[Query], k: int, seed: int, progress: Callable[[int], None]
) -> list[float]:
    """Seconds per query for a random sample asked one at a time, as when serving, after one warm-up query.

    progress: called with the number of queries timed.
    """
    retriever = contender.serving or contender.retriever
    drawn = subset(queries, n_timed(contender, queries), seed)
    retriever.search(drawn[:1], k)
    seconds: list[float] = []
    for query in drawn:
        started = time.perf_counter()
        retriever.search([query], k)
        seconds.append(time.perf_counter() - started)
        progress(len(seconds))
    return seconds
