"""Lists of candidates: the best of what was found for a synthetic query, its source document among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from acclimate.records import Query, ScoredDoc, SyntheticQuery
from acclimate.search.members import Ids
from acclimate.search.system import Candidates, fuse

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Queries, and a row per query that joins what is found for it, or no rows -> the candidates of each query.
Find = Callable[[Sequence[Query], Sequence[int]], Iterable[Candidates]]


def lists(
    queries: Sequence[SyntheticQuery], find: Find, ids: Ids, weights: Mapping[str, float], n_ways: int
) -> list[Candidates]:
    """The `n_ways` best candidates of each query, its source document among them wherever it ranks."""
    sources = [ids.row[query.doc_id] for query in queries]
    found = find([query.as_query() for query in queries], sources)
    return [best(one, ids, weights, n_ways, source) for one, source in zip(found, sources, strict=True)]


def best(one: Candidates, ids: Ids, weights: Mapping[str, float], n_ways: int, source: int | None = None) -> Candidates:
    """The `n_ways` best of a query's candidates, in row order, with `source` among them where it is one at all."""
    return one.at(best_places(one, ids, weights, n_ways, source))


def best_places(
    one: Candidates, ids: Ids, weights: Mapping[str, float], n_ways: int, source: int | None = None
) -> NDArray[np.int64]:
    """Where they are, ascending."""
    order = ids.order(fuse(one, weights), one.rows)
    kept = order[:n_ways]
    if source is not None and source not in one.rows[kept]:
        kept = np.append(order[: n_ways - 1], np.flatnonzero(one.rows == source))
    return np.sort(kept)


def hits(
    found: Iterable[Candidates], ids: Ids, weights: Mapping[str, float], k: int, sources: Sequence[int]
) -> Iterator[ScoredDoc]:
    """The `k` best candidates of each query with their scores, and its source document behind them where it is not."""
    for one, source in zip(found, sources, strict=True):
        total = fuse(one, weights)
        order = ids.order(total, one.rows)
        for place in [*order[:k], *(place for place in order[k:] if one.rows[place] == source)]:
            yield ScoredDoc(one.query.query_id, ids.doc_ids[one.rows[place]], float(total[place]))
