"""Which pairs are put to a scorer in one call: what is computed together is what is kept (see `kept`).

On a CPU a query's documents are a batch already, and where a pair is rated alike in any company, some queries' fill it
better. A GPU takes those of many queries at once; these are grouped by their ids, so that a call follows from what
there is to rate, never from what was rated before, and a query that changes changes one call. Within a query documents
go by their ids: who found them, in which order, does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from acclimate.base import models
from acclimate.base.draw import draw
from acclimate.records import Query, Scorer, SyntheticQuery

_AT_ONCE = 8  # queries on a CPU, of which a killed run loses those at hand

Pair = tuple[Query, str]  # with a doc_id
AnyQuery = TypeVar("AnyQuery", Query, SyntheticQuery)


def rated_lists(scorer: Scorer, lists: Sequence[tuple[Query, Sequence[str]]]) -> Iterator[tuple[Query, list[float]]]:
    """Each query and the scores of its documents in their order, a call at a time.

    lists: queries and documents, none of them twice.
    """
    documents = dict(lists)
    calls = _calls(scorer, [*documents])
    pairs = ([(query, doc_id) for query in call for doc_id in sorted(documents[query])] for call in calls)
    for call, rated in zip(calls, score_calls(scorer, pairs), strict=True):
        scores = iter(rated)
        for query in call:
            by_id = {doc_id: next(scores) for doc_id in sorted(documents[query])}
            yield query, [by_id[doc_id] for doc_id in documents[query]]


def score_calls(scorer: Scorer, calls: Iterable[Sequence[Pair]]) -> Iterator[list[float]]:
    """What a scorer says of the pairs of each call, in order; it may look ahead, and rate some calls at once."""
    several: Callable[[Iterable[Sequence[Pair]]], Iterator[list[float]]] | None = getattr(scorer, "score_calls", None)
    return map(scorer.score, calls) if several is None else several(calls)


def _calls(scorer: Scorer, queries: Sequence[Query]) -> list[Sequence[Query]]:
    """The queries that are put to a scorer together."""
    if models.device() != "cpu":
        return [*rated_together(queries)]
    at_once = _AT_ONCE if getattr(scorer, "by_pair", False) else 1
    return [queries[start : start + at_once] for start in range(0, len(queries), at_once)]


def rated_together(queries: Sequence[AnyQuery]) -> list[list[AnyQuery]]:
    """Queries in groups by their ids, 32 to 64 or so: batches that fill a device, and another query changes one.

    A scorer's rounding follows from its batch, so a group is rated, and kept, as a whole.
    """
    bits = (len(queries) // 64).bit_length()  # of the id's hash, which tell the groups apart
    by_group: dict[int, list[AnyQuery]] = {}
    for query in sorted(queries, key=lambda query: query.query_id):
        by_group.setdefault(draw("rated together", query.query_id) >> (64 - bits), []).append(query)
    return list(by_group.values())
