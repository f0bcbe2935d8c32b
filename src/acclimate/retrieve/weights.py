"""How much each member counts in a fusion, chosen on held-out queries whose answer is known.

All weights in tenths that add to 1 are tried. The best of them on a hundred queries is partly luck, so the weights
returned are the mean of all that come within a third of a standard error of the best.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acclimate.errors import DataError
from acclimate.retrieve.system import Candidates, min_max

_TENTHS = 10
_NEAR = 1 / 3  # standard errors


class Weighed(NamedTuple):
    """Weights that add to 1, and the mean nDCG@10 that they reach on the queries they were chosen on."""

    weights: dict[str, float]
    ndcg: float


def choose_weights(found: Sequence[Candidates], answers: Sequence[int], names: Sequence[str]) -> Weighed:
    """The weights with which the answer's row ranks best, by mean nDCG@10; a query that never finds it counts 0.

    `answers[i]` is the row of the one right document of `found[i]`. Raises DataError without queries.
    """
    if not found:
        raise DataError("no held-out queries to choose weights on; draw more documents (sample.n_docs)")
    grid = np.array(list(_compositions(_TENTHS, len(names))), dtype=np.float32) / _TENTHS  # (n_weights, n_names)
    gains = np.stack([_gains(one, row, names, grid) for one, row in zip(found, answers, strict=True)])
    means = gains.mean(axis=0)
    best = int(means.argmax())
    error = gains[:, best].std() / np.sqrt(len(found))
    near = grid[means >= means[best] - _NEAR * error]
    weights = {name: round(float(weight), 4) for name, weight in zip(names, near.mean(axis=0), strict=True)}
    chosen = np.array([[weights[name] for name in names]], dtype=np.float32)
    reached = np.mean([_gains(one, row, names, chosen)[0] for one, row in zip(found, answers, strict=True)])
    return Weighed(weights, float(reached))


def gains(found: Sequence[Candidates], answers: Sequence[int], name: str) -> NDArray[np.float64]:
    """(n_queries,) nDCG@10 of one member alone."""
    alone = np.ones((1, 1), dtype=np.float32)
    return np.array([_gains(one, row, [name], alone)[0] for one, row in zip(found, answers, strict=True)])


def _gains(one: Candidates, answer: int, names: Sequence[str], grid: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n_weights,) nDCG@10 of one right document; a tie counts as half before and half behind."""
    at = np.flatnonzero(one.rows == answer)
    if not len(at):
        return np.zeros(len(grid))
    totals = grid @ np.stack([min_max(one.scores[name]) for name in names])  # (n_weights, n_candidates)
    own = totals[:, at]
    rank = 1 + (totals > own).sum(axis=1) + ((totals == own).sum(axis=1) - 1) / 2
    return np.where(rank <= 10, 1 / np.log2(1 + rank), 0.0)


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write `total` as an ordered sum of `parts` numbers, 0 included."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
