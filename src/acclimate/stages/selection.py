"""Queries pass filters in order: each filter sees what the one before it left, and every drop has one reason.

A score is asked for once, of the queries that reach a filter that reads it, and all are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from acclimate.base.errors import SettingError
from acclimate.corpus.near_duplicates import best_first
from acclimate.records import SyntheticQuery

Queries = list[SyntheticQuery]
Filter = Callable[[Queries], set[str]]  # queries -> the ids of those to drop


class Selection(NamedTuple):
    """What is kept, in the order given, and what was thought of each query."""

    queries: Queries
    dropped: dict[str, int]
    judged: list[dict[str, Any]]  # every query: query_id, logprob, other scores (None: not asked), reason
    funnel: list[tuple[str, int]]  # filter -> queries left after it


class Scores:
    """Scores by name, each asked for where it is not known."""

    def __init__(self, ask: Mapping[str, Callable[[Queries], Sequence[float]]]) -> None:
        """ask: a score's name -> what gives it, in the order of the queries."""
        self._ask = ask
        self.known: dict[str, dict[str, float]] = {}

    def of(self, name: str, queries: Queries) -> dict[str, float]:
        """query_id -> score, of these queries at least."""
        known = self.known.setdefault(name, {})
        missing = [query for query in queries if query.query_id not in known]
        if missing:
            known.update(zip((query.query_id for query in missing), self._ask[name](missing), strict=True))
        return known

    def outside(self, name: str, low: float, high: float) -> Filter:
        """Drops queries whose score is not from `low` to `high`, or that have none."""

        def drops(queries: Queries) -> set[str]:
            scores = self.of(name, queries)
            return {query.query_id for query in queries if not low <= scores[query.query_id] <= high}

        return drops

    def below_percentile(self, name: str, percentile: float) -> Filter:
        """Drops queries whose score is below that percentile of all."""

        def drops(queries: Queries) -> set[str]:
            scores = self.of(name, queries)
            known = sorted(scores[query.query_id] for query in queries if not math.isnan(scores[query.query_id]))
            if queries and not known:
                raise SettingError(f"filter.percentile_of is {name}, of which no query has one")
            low = known[min(len(known) - 1, int(len(known) * percentile / 100))] if known else 0.0
            return {query.query_id for query in queries if not scores[query.query_id] >= low}

        return drops

    def worse_than_best(self, name: str, count: int) -> Filter:
        """Drops all but so many, those with the highest score; ties by id."""

        def drops(queries: Queries) -> set[str]:
            scores = self.of(name, queries)
            dropped = {query.query_id for query in best_first(queries, scores)[count:]}
            if dropped and all(math.isnan(scores[query.query_id]) for query in queries):
                raise SettingError(f"no query has a {name} to choose the best {count:,} by; leave that filter out")
            return dropped

        return drops


def select(
    queries: Sequence[SyntheticQuery], names: Sequence[str], filters: Mapping[str, Filter], scores: Scores
) -> Selection:
    """What is left of the queries after the filters of these names."""
    reasons: dict[str, str] = {}
    funnel: list[tuple[str, int]] = []
    kept = list(queries)
    for name in names:
        dropped = filters[name](kept)
        reasons.update(dict.fromkeys(dropped, name))
        kept = [query for query in kept if query.query_id not in dropped]
        funnel.append((name, len(kept)))
    judged = [
        {
            "query_id": query.query_id,
            **{score: _rounded(known.get(query.query_id)) for score, known in scores.known.items()},
            "reason": reasons.get(query.query_id),
        }
        for query in queries
    ]
    counts = {name: sum(reason == name for reason in reasons.values()) for name in names}
    return Selection(kept, counts, judged, funnel)


def _rounded(score: float | None) -> float | None:
    """Rows as JSON has them: infinite ranks and scores that are none become null."""
    if score is None or not math.isfinite(score):
        return None
    return int(score) if score == int(score) else round(score, 6)
