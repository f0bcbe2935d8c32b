"""Apply filters in order: each sees the queries that the one before left, and every dropped query has one reason.

Scores are computed only for queries that reach a filter that reads them, once each, and all are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from acclimate.base.errors import SettingError
from acclimate.corpus.near_duplicates import best_first
from acclimate.records import SyntheticQuery

Queries = list[SyntheticQuery]
Filter = Callable[[Queries], set[str]]  # queries -> ids of those to drop


class Selection(NamedTuple):
    """The queries that passed, in their original order, and the scores of all."""

    queries: Queries
    dropped: dict[str, int]
    judged: list[dict[str, Any]]  # for every query: query_id, logprob, other scores (None: not computed), reason
    funnel: list[tuple[str, int]]  # (filter, queries left after it)


class Scores:
    """Named scores of queries, computed on demand."""

    def __init__(self, ask: Mapping[str, Callable[[Queries], Sequence[float]]]) -> None:
        """ask: score name -> function that returns scores in the order of the queries."""
        self._ask = ask
        self.known: dict[str, dict[str, float]] = {}

    def of(self, name: str, queries: Queries) -> dict[str, float]:
        """query_id -> score, for at least these queries."""
        known = self.known.setdefault(name, {})
        missing = [query for query in queries if query.query_id not in known]
        if missing:
            known.update(zip((query.query_id for query in missing), self._ask[name](missing), strict=True))
        return known

    def outside(self, name: str, low: float, high: float) -> Filter:
        """A filter that drops queries whose score is outside [low, high], or missing."""

        def drops(queries: Queries) -> set[str]:
            scores = self.of(name, queries)
            return {query.query_id for query in queries if not low <= scores[query.query_id] <= high}

        return drops

    def below_percentile(self, name: str, percentile: float) -> Filter:
        """A filter that drops queries whose score is below this percentile."""

        def drops(queries: Queries) -> set[str]:
            scores = self.of(name, queries)
            known = sorted(scores[query.query_id] for query in queries if not math.isnan(scores[query.query_id]))
            if queries and not known:
                raise SettingError(f"filter.percentile_of is {name}, of which no query has one")
            low = known[min(len(known) - 1, int(len(known) * percentile / 100))] if known else 0.0
            return {query.query_id for query in queries if not scores[query.query_id] >= low}

        return drops

    def worse_than_best(self, name: str, count: int) -> Filter:
        """A filter that drops all but the `count` queries with the highest scores; ties by id."""

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
    """Apply the filters of these names in order."""
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
    """A score as JSON: infinite and NaN become null."""
    if score is None or not math.isfinite(score):
        return None
    return int(score) if score == int(score) else round(score, 6)
