"""Group pairs into calls of a scorer. What is computed together is cached together (see `cached`).

On a CPU one query's documents are a batch; batch-invariant scorers take several queries to fill it better. On a GPU a
call has many queries, grouped by id, so that it depends on what is to be scored, not on what was scored before, and a
changed query affects one call. Within a query documents are sorted by id. Calls of scorers that read a document once
for all of its queries have one document, or on a GPU a group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from acclimate.base import models
from acclimate.base.draw import draw
from acclimate.records import Query, Scorer, SyntheticQuery

_AT_ONCE = 8  # queries on a CPU; what an interrupted run loses
_ON_DEVICE = 64  # on a GPU

Pair = tuple[Query, str]  # with a doc_id
T = TypeVar("T")
AnyQuery = TypeVar("AnyQuery", Query, SyntheticQuery)


def score_lists(scorer: Scorer, lists: Sequence[tuple[Query, Sequence[str]]]) -> Iterator[tuple[Query, list[float]]]:
    """Each query with the scores of its documents in their order, call by call.

    lists: queries with documents, without duplicates.
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
    """Scores of each call, in order; the scorer may look ahead and compute several calls at once."""
    several: Callable[[Iterable[Sequence[Pair]]], Iterator[list[float]]] | None = getattr(scorer, "score_calls", None)
    return map(scorer.score, calls) if several is None else several(calls)


def _calls(scorer: Scorer, queries: Sequence[Query]) -> list[Sequence[Query]]:
    """The queries of each call."""
    if models.device() != "cpu":
        return [*query_batches(queries)]
    at_once = _AT_ONCE if getattr(scorer, "by_pair", False) else 1
    return [queries[start : start + at_once] for start in range(0, len(queries), at_once)]


def queries_at_once() -> int:
    """How many queries to score between two signs of progress."""
    return _AT_ONCE if models.device() == "cpu" else _ON_DEVICE


def query_batches(queries: Sequence[AnyQuery]) -> list[list[AnyQuery]]:
    """Group queries by id: 32 to 64 or so per group to fill a GPU's batch, 4 to 8 on a CPU."""
    return _groups(queries, lambda query: query.query_id, queries_at_once())


def document_batches(doc_ids: Iterable[str]) -> list[list[str]]:
    """The documents of each call, for scorers that read a document once for all of its queries."""
    return (
        [[doc_id] for doc_id in sorted(doc_ids)] if models.device() == "cpu" else _groups([*doc_ids], str, _ON_DEVICE)
    )


def _groups(items: Sequence[T], id_of: Callable[[T], str], most: int) -> list[list[T]]:
    """Rounding depends on the batch, so a group is scored and cached as a whole."""
    bits = (len(items) // most).bit_length()  # bits of the id's hash that define the group
    by_group: dict[int, list[T]] = {}
    for item in sorted(items, key=id_of):
        by_group.setdefault(draw("rated together", id_of(item)) >> (64 - bits), []).append(item)
    return list(by_group.values())
