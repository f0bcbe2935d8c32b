"""The candidates of a query with each member's scores, and their fusion.

With weights, each member's scores are min-max normalized over the query's candidates and added. Without weights,
reciprocal ranks are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from acclimate.records import Query, ScoredDoc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.search.members import Ids


RANK_CONSTANT = 60  # the k of reciprocal rank fusion


class Candidates(NamedTuple):
    """The candidate docs of one query, with each member's scores."""

    query: Query
    rows: NDArray[np.int64]  # (n,)
    scores: dict[str, NDArray[np.float32]]  # member -> (n,) raw scores
    document_rows: NDArray[np.int64] | None = None  # (n,) row of each candidate's document; None: its own
    # (n,) rank of each document's id in sorted order; None: of the row's.
    document_ranks: NDArray[np.int64] | None = None
    rows_by_source: Mapping[str, NDArray[np.int64]] | None = None  # source -> the rows it found, best first

    def select(self, places: NDArray[np.int64]) -> Candidates:
        """The candidates at these positions."""
        return self._replace(
            rows=self.rows[places],
            scores={name: scores[places] for name, scores in self.scores.items()},
            document_rows=None if self.document_rows is None else self.document_rows[places],
            document_ranks=None if self.document_ranks is None else self.document_ranks[places],
        )

    def named_by(self, sources: Sequence[str], extra_row: int | None = None) -> Candidates:
        """The candidates found by these sources, and the extra row: those of a system with only these sources."""
        assert self.rows_by_source is not None
        rows_by_source = {name: self.rows_by_source[name] for name in sources}
        joined = np.array([] if extra_row is None else [extra_row], dtype=np.int64)
        places = np.flatnonzero(np.isin(self.rows, np.concatenate([*rows_by_source.values(), joined])))
        return self.select(places)._replace(rows_by_source=rows_by_source)


# (queries, one extra row per query or none) -> the candidates of each query.
Find = Callable[[Sequence[Query], Sequence[int]], Iterable[Candidates]]


def fuse(candidates: Candidates, weights: Mapping[str, float]) -> NDArray[np.float32]:
    """(n,) weighted sum of the members' normalized scores; a single member's scores stay raw.

    Without weights: the sum of reciprocal ranks.
    """
    if not weights:
        return reciprocal_ranks(candidates)
    names = sorted(name for name, weight in weights.items() if weight)  # fixed order, as sums are rounded
    if len(names) == 1:
        return candidates.scores[names[0]]
    total = np.zeros(len(candidates.rows), dtype=np.float32)
    for name in names:
        total += np.float32(weights[name]) * min_max(candidates.scores[name])
    return total


def reciprocal_ranks(candidates: Candidates) -> NDArray[np.float32]:
    """(n,) reciprocal rank fusion: the sum of 1 / (60 + rank) over the sources that found a candidate.

    Cormack, Clarke and Buettcher, SIGIR 2009; ranks begin at 1.
    """
    assert candidates.rows_by_source is not None
    total = np.zeros(len(candidates.rows), dtype=np.float32)
    for _, named in sorted(candidates.rows_by_source.items()):  # fixed order, as sums are rounded
        _, places, ranks = np.intersect1d(candidates.rows, named, assume_unique=True, return_indices=True)
        total[places] += (1 / (RANK_CONSTANT + 1 + ranks)).astype(np.float32)
    return total


def min_max(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores of one query scaled to [0, 1]; all 0 if they are equal."""
    if not len(scores):
        return scores
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


def best(
    candidates: Candidates, ids: Ids, weights: Mapping[str, float], n_ways: int, source_row: int | None = None
) -> Candidates:
    """The `n_ways` best candidates, in row order, including `source_row` if given."""
    return candidates.select(best_places(candidates, ids, weights, n_ways, source_row))


def best_places(
    candidates: Candidates, ids: Ids, weights: Mapping[str, float], n_ways: int, source_row: int | None = None
) -> NDArray[np.int64]:
    """Positions of the `n_ways` best candidates, ascending, including that of `source_row`."""
    order = ids.order(fuse(candidates, weights), candidates.rows)
    places = order[:n_ways]
    if source_row is not None and source_row not in candidates.rows[places]:
        places = np.append(order[: n_ways - 1], np.flatnonzero(candidates.rows == source_row))
    return np.sort(places)


def hits(
    lists: Iterable[Candidates], ids: Ids, weights: Mapping[str, float], k: int, source_rows: Sequence[int]
) -> Iterator[ScoredDoc]:
    """The `k` best candidates of each query, and its source document behind them if it is not among them."""
    for candidates, source_row in zip(lists, source_rows, strict=True):
        total = fuse(candidates, weights)
        order = ids.order(total, candidates.rows)
        for place in [*order[:k], *(place for place in order[k:] if candidates.rows[place] == source_row)]:
            yield ScoredDoc(candidates.query.query_id, ids.doc_ids[candidates.rows[place]], float(total[place]))


def rank_of(row: int, candidates: Candidates, ids: Ids, weights: Mapping[str, float]) -> int | None:
    """The rank, from 1, of a row among the candidates; None if it is not one."""
    order = ids.order(fuse(candidates, weights), candidates.rows)
    places = np.flatnonzero(candidates.rows[order] == row)
    return 1 + int(places[0]) if len(places) else None
