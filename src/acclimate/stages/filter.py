"""Which synthetic queries are worth learning from.

Three filters, in the order that the setting names them: `duplicates` (queries nearly equal to a better one), `logprob`
(the LLM's own confidence, InPars v1) and `round-trip` (a retriever finds the source document, Promptagator and
UDAPDR). Every score is kept, so that a threshold can be judged afterwards, and every drop has one reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from acclimate.errors import SettingError, unknown
from acclimate.records import Retriever, SyntheticQuery

NAMES = ("duplicates", "logprob", "round-trip")


class Filtered(NamedTuple):
    """What is kept, in the order given, and what was thought of each query."""

    queries: list[SyntheticQuery]
    dropped: dict[str, int]
    judged: list[dict[str, Any]]  # every query: query_id, logprob, rank (None: not among the round trip's), reason


def filter_queries(
    queries: Sequence[SyntheticQuery],
    retriever: Retriever,
    *,
    filters: tuple[str, ...] = NAMES,
    keep_top_k: int = 10_000,
    round_trip_k: int = 20,
    min_difference: float = 0.2,
) -> Filtered:
    """Keep the queries that pass every named filter.

    Raises SettingError for a filter that does not exist.

    Parameters
    ----------
    filters
        Filters by name, in order: duplicates, logprob, round-trip.
    keep_top_k
        logprob: keep this many, those with the highest mean log-probability.
    round_trip_k
        round-trip: keep a query when its source document is among this many first ones.
    min_difference
        duplicates: two queries are the same below this distance of their words (Jaccard, 0 to 1).
    """
    for name in filters:
        if name not in NAMES:
            raise unknown("filter", name, NAMES)
    if round_trip_k < 1 or keep_top_k < 1:
        raise SettingError("round_trip_k and keep_top_k must be 1 or more")
    ranks: dict[str, int] = {}

    def round_trip(kept: list[SyntheticQuery]) -> set[str]:
        ranks.update(source_ranks(kept, retriever, depth=max(round_trip_k, 100)))
        return {query.query_id for query in kept if ranks.get(query.query_id, round_trip_k + 1) > round_trip_k}

    drops: Mapping[str, Callable[[list[SyntheticQuery]], set[str]]] = {
        "duplicates": lambda kept: near_duplicates(kept, min_difference),
        "logprob": lambda kept: {query.query_id for query in _by_logprob(kept)[keep_top_k:]},
        "round-trip": round_trip,
    }
    reasons: dict[str, str] = {}
    kept = list(queries)
    for name in filters:
        dropped = drops[name](kept)
        reasons.update(dict.fromkeys(dropped, name))
        kept = [query for query in kept if query.query_id not in dropped]
    judged = [
        {
            "query_id": query.query_id,
            "logprob": round(query.logprob, 6) if query.logprob == query.logprob else None,
            "rank": ranks.get(query.query_id),
            "reason": reasons.get(query.query_id),
        }
        for query in queries
    ]
    counts = {name: sum(reason == name for reason in reasons.values()) for name in filters}
    return Filtered(kept, counts, judged)


def source_ranks(queries: Sequence[SyntheticQuery], retriever: Retriever, *, depth: int) -> dict[str, int]:
    """query_id -> rank from 1 of its source document; queries whose source is not in the top `depth` are left out."""
    sources = {query.query_id: query.doc_id for query in queries}
    ranks: dict[str, int] = {}
    place: dict[str, int] = {}
    for hit in retriever.search([query.as_query() for query in queries], depth):
        place[hit.query_id] = place.get(hit.query_id, 0) + 1
        if hit.doc_id == sources[hit.query_id]:
            ranks[hit.query_id] = place[hit.query_id]
    return ranks


def near_duplicates(queries: Sequence[SyntheticQuery], min_difference: float) -> set[str]:
    """Ids of queries whose words are nearly those of a query with a higher log-probability.

    Only queries that share one of their rarest words are compared, so the work does not grow with the square.
    """
    ordered = _by_logprob(queries)
    words = {query.query_id: frozenset(re.findall(r"\w+", query.text.lower())) for query in ordered}
    count: dict[str, int] = {}
    for found in words.values():
        for word in found:
            count[word] = count.get(word, 0) + 1
    kept_by_word: dict[str, list[str]] = {}
    dropped: set[str] = set()
    for query in ordered:
        own = words[query.query_id]
        # Sets at least 1 - d alike share a word among the rarest ceil(d * size) + 1 of each (prefix filtering).
        prefix = sorted(own, key=lambda word: (count[word], word))[: int(min_difference * len(own)) + 1]
        rivals = {rival for word in prefix for rival in kept_by_word.get(word, ())}
        if not own or any(_distance(own, words[rival]) < min_difference for rival in rivals):
            dropped.add(query.query_id)
            continue
        for word in prefix:
            kept_by_word.setdefault(word, []).append(query.query_id)
    return dropped


def _distance(one: frozenset[str], other: frozenset[str]) -> float:
    return 1 - len(one & other) / len(one | other)


def _by_logprob(queries: Sequence[SyntheticQuery]) -> list[SyntheticQuery]:
    """Most confident first; queries without a log-probability last; ties by id."""
    return sorted(
        queries, key=lambda query: (-query.logprob if query.logprob == query.logprob else float("inf"), query.query_id)
    )
