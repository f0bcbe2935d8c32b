"""Choose fusion weights on queries with known relevant documents.

With up to four members, all weights in tenths that sum to 1 are tried; with more, members are added greedily with
replacement (Caruana et al., ICML 2004). Since the best weights on a hundred queries are partly luck, the result is the
mean of all weights within a third of a standard error of the best. If queries form several groups, each group votes:
the result is the mean of the votes, moved towards equal weights as far as they disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acclimate.base.errors import DataError
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.measure.measures import ndcg
from acclimate.search.candidates import Candidates
from acclimate.search.members import Ids
from acclimate.search.scales import Scale, by_list

_TENTHS = 10
_MOST_IN_GRID = 4  # members up to which all weights are tried
_TOLERANCE = 1 / 3  # standard errors
_FEWEST_VOTERS = 10  # queries below which a group does not vote

LEFT_OUT = -1  # the grade of a document to exclude, as it is the query itself


class Relevance(NamedTuple):
    """Relevance grades for some queries, and the weight of each query."""

    grades: Sequence[Mapping[int, int]]  # row of each judged document, or of its first passage -> its grade
    weights: NDArray[np.float64]  # (n_queries,), sum 1
    groups: Sequence[str]  # the group that each query votes in

    @classmethod
    def equal(cls, grades: Sequence[Mapping[int, int]]) -> Relevance:
        """Queries of equal weight in one group."""
        return cls(grades, np.full(len(grades), 1 / max(1, len(grades))), [""] * len(grades))

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(...) weighted mean of (n_queries, ...) values."""
        return np.average(values, axis=0, weights=self.weights)


def relevance_of(judged: JudgedQueries, ids: Ids) -> Relevance:
    """Grades of judged documents by row; documents that are the query itself get `LEFT_OUT`."""
    row, left_out = ids.document_row, judged.self_matches.left_out
    grades = [
        {row[doc_id]: grade for doc_id, grade in judged.grades[query.query_id].items()}
        | {row[doc_id]: LEFT_OUT for doc_id in left_out.get(query.query_id, ())}
        for query in judged.queries
    ]
    weights = np.array([judged.weights.get(query.query_id, 1.0) for query in judged.queries])
    return Relevance(
        grades, weights / weights.sum(), [judged.groups.get(query.query_id, "") for query in judged.queries]
    )


class ChosenWeights(NamedTuple):
    """Weights that sum to 1, and the mean nDCG@10 they give on the queries they were chosen on."""

    weights: dict[str, float]
    ndcg: float
    tolerance: float = 0.0  # difference that counts as equal: a third of the standard error
    disagreement: float = 0.0  # of query groups about the weights, 0 to 1


def choose_weights(
    lists: Sequence[Candidates],
    relevance: Relevance,
    names: Sequence[str],
    *,
    votes: bool = True,
    scale: Scale = by_list,
) -> ChosenWeights:
    """The weights with the best mean nDCG@10; a query without relevant candidates counts 0.

    votes: let groups of queries vote. Raises DataError without queries.
    """
    if not lists:
        raise DataError("no held-out queries to choose weights on; sample more documents (sample.n_docs)")
    if len(names) <= _MOST_IN_GRID:
        grid = np.array(list(_compositions(_TENTHS, len(names))), dtype=np.float32) / _TENTHS  # (n_weights, n_names)
    else:
        grid = _greedy(lists, relevance, names, scale)
    values = ndcg_of_weights(lists, relevance, names, grid, scale=scale)
    groups = [np.array(relevance.groups) == group for group in sorted({*relevance.groups})] if votes else []
    groups = [group for group in groups if group.sum() >= _FEWEST_VOTERS]
    if len(groups) < 2:
        groups = [np.ones(len(lists), np.bool_)]
    ballots = [_as_good(values[group], relevance.weights[group], grid) for group in groups]
    distances = [np.abs(first - second).sum() / 2 for first, second in combinations(ballots, 2)]
    disagreement = float(np.mean(distances)) if distances else 0.0
    chosen = (1 - disagreement) * np.mean(ballots, axis=0) + disagreement / len(names)
    chosen = chosen.round(4).astype(np.float32)
    weights = {name: round(float(weight), 4) for name, weight in zip(names, chosen, strict=True)}
    values = ndcg_of_weights(lists, relevance, names, chosen[None], scale=scale)[:, 0]
    tolerance = round(_TOLERANCE * _error(values, relevance.weights), 5)
    return ChosenWeights(weights, float(relevance.mean(values)), tolerance, round(disagreement, 4))


def _as_good(
    values: NDArray[np.float64], weights: NDArray[np.float64], grid: NDArray[np.floating]
) -> NDArray[np.floating]:
    """(n_names,) mean of all weights in the grid that are as good as the best. weights: of the queries."""
    shares = weights / weights.sum()
    means = np.average(values, axis=0, weights=shares)
    best = int(means.argmax())
    return grid[means >= means[best] - _TOLERANCE * _error(values[:, best], shares)].mean(axis=0)


def _error(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Standard error of the weighted mean of (n_queries,) values. weights: sum 1."""
    return float(np.sqrt((weights**2 * (values - weights @ values) ** 2).sum()))


def _greedy(
    lists: Sequence[Candidates], relevance: Relevance, names: Sequence[str], scale: Scale
) -> NDArray[np.floating]:
    """(n_weights, n_names) all weights tried while adding the best member again and again."""
    grids: list[NDArray[np.floating]] = []
    counts = np.zeros(len(names), dtype=np.float32)
    for step in range(1, 2 * _TENTHS + 1):
        grid = (counts + np.eye(len(names), dtype=np.float32)) / step
        grids.append(grid)
        means = relevance.mean(ndcg_of_weights(lists, relevance, names, grid, scale=scale))
        counts += np.eye(len(names))[int(means.argmax())]
    return np.concatenate(grids)


def ndcg_of_weights(
    lists: Sequence[Candidates],
    relevance: Relevance,
    names: Sequence[str],
    grid: NDArray[np.floating],
    *,
    scale: Scale = by_list,
) -> NDArray[np.float64]:
    """(n_queries, n_weights) nDCG@10 for each row of `grid` (n_weights, n_names)."""
    return np.stack(
        [
            _ndcg_of_query(candidates, grades, names, grid, scale)
            for candidates, grades in zip(lists, relevance.grades, strict=True)
        ]
    )


def mean_ndcg(lists: Sequence[Candidates], relevance: Relevance, name: str, *, scale: Scale = by_list) -> float:
    """Mean nDCG@10 of a single member."""
    values = ndcg_of_weights(lists, relevance, [name], np.ones((1, 1), dtype=np.float32), scale=scale)
    return float(relevance.mean(values[:, 0]))


def _ndcg_of_query(
    candidates: Candidates,
    grades: Mapping[int, int],
    names: Sequence[str],
    grid: NDArray[np.floating],
    scale: Scale,
) -> NDArray[np.float64]:
    """(n_weights,) nDCG@10 of one query, summed as in `fuse`, ties by document id.

    A document ranks where its best passage does.
    """
    relevant = {row: grade for row, grade in grades.items() if grade > 0}
    ranks = np.full((len(grid), len(relevant)), np.inf)
    if len(candidates.rows):
        scores = np.zeros((len(grid), len(candidates.rows)), dtype=np.float32)
        for column in sorted(range(len(names)), key=names.__getitem__):
            name = names[column]
            scores += np.float32(grid[:, column, None]) * scale(name, candidates.scores[name])
        rows, ties = candidates.rows, candidates.document_ranks
        ties = rows if ties is None else ties
        if candidates.document_rows is not None:
            order = np.argsort(candidates.document_rows, kind="stable")
            rows, starts = np.unique(candidates.document_rows[order], return_index=True)
            scores, ties = np.maximum.reduceat(scores[:, order], starts, axis=1), ties[order][starts]
        left_out = [row for row, grade in grades.items() if grade == LEFT_OUT]
        scores[:, np.isin(rows, left_out)] = -np.inf
        for column, row in enumerate(relevant):
            position = np.flatnonzero(rows == row)
            if len(position):
                score = scores[:, position]
                before = (scores > score) | ((scores == score) & (ties < ties[position]))
                ranks[:, column] = 1 + before.sum(axis=1)
    return ndcg(np.array(list(relevant.values())), ranks)


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ordered tuples of `parts` non-negative integers that sum to `total`."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
