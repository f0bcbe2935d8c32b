"""Rerank a run with a scorer, query by query and in batches of documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from acclimate.base.errors import DataError
from acclimate.base.text import quoted
from acclimate.records import Query, ScoredDoc, Scorer

_AT_ONCE = 100  # documents of a query; what an interrupted run loses


def rerank_run(
    run: Iterable[ScoredDoc],
    queries: Mapping[str, Query],
    scorer: Scorer,
    *,
    depth: int,
    progress: Callable[[int], None] = lambda queries: None,
) -> Iterator[ScoredDoc]:
    """The run with the first `depth` docs of each query ordered by the scorer, with its scores.

    Deeper docs follow in their old order, with lower scores. Ties are broken by doc_id. run: the hits of a query
    together, in any order. Raises DataError for a score that is not finite.
    """
    for done, (query_id, hits) in enumerate(groupby(run, key=lambda hit: hit.query_id), 1):
        ranked = sorted(hits, key=lambda hit: (-hit.score, hit.doc_id))
        head, scores = ranked[:depth], list[float]()
        for start in range(0, len(head), _AT_ONCE):
            some = head[start : start + _AT_ONCE]
            scores += scorer.score([(queries[query_id], hit.doc_id) for hit in some])
        for hit, score in zip(head, scores, strict=True):
            if not math.isfinite(score):
                raise DataError(f"query {quoted(query_id)}: the score of document {quoted(hit.doc_id)} is {score}")
        best = [hit._replace(score=float(score)) for hit, score in zip(head, scores, strict=True)]
        yield from sorted(best, key=lambda hit: (-hit.score, hit.doc_id))
        low = min(scores)
        step = max(1.0, 1e-6 * abs(low))  # large enough for single precision
        yield from (hit._replace(score=low - step * place) for place, hit in enumerate(ranked[depth:], 1))
        progress(done)


def check(run: Iterable[ScoredDoc], path: Path, queries: Container[str], documents: Container[str], depth: int) -> int:
    """The number of queries in a run. Raises DataError for unknown queries, and unknown documents within `depth`."""
    n_queries, missing_queries, missing_docs = 0, list[str](), dict[str, None]()
    for query_id, hits in groupby(run, key=lambda hit: hit.query_id):
        n_queries += 1
        if query_id not in queries:
            missing_queries.append(query_id)
        first = sorted(hits, key=lambda hit: (-hit.score, hit.doc_id))[:depth]
        missing_docs |= dict.fromkeys(hit.doc_id for hit in first if hit.doc_id not in documents)
    if not n_queries:
        raise DataError("no line in this file; expected a run: qid Q0 docid rank score tag", path=path)
    for what, missing, where in (
        ("queries", missing_queries, "no text among the queries (--queries)"),
        ("documents", list(missing_docs), "no text in the corpus (--corpus)"),
    ):
        if missing:
            raise DataError(
                f"{len(missing):,} of its {what} have {where}, the first is {quoted(missing[0])}", path=path
            )
    return n_queries
