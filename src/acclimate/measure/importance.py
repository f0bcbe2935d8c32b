"""How much each of some queries counts, if together they are to look like others.

A logistic regression tells the two apart; its odds are the ratio of their densities (Sugiyama, Suzuki and Kanamori,
Density Ratio Estimation in Machine Learning, 2012, chapter 4), so a query that could as well be one of the others
counts more. It is fitted by Newton's method with a ridge. Both sides count the same, however few they are: a log of
twenty queries moves weights about as far as one of thousands, which is right where it differs much from the queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RIDGE = 5.0
_FEWEST = 10  # queries of either side that are looked at
_MOST = 10.0  # times the mean weight: no query decides alone
_STEPS = 100
_STEP = 1.0  # at most, of a coefficient: from far off, Newton's method overshoots


def importance_weights(queries: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) weights of the queries, which add to 1, under which they are most like the wanted ones.

    queries: (n, d) what was seen of each. wanted: (m, d) the same of those that they are to look like. Equal weights
    where either are fewer than ten: what so few are like is luck. Squares of what was seen count, too, so that spreads
    are matched and not only means.
    """
    n = len(queries)
    if min(n, len(wanted)) < _FEWEST:
        return np.full(n, 1 / max(1, n))
    both = np.concatenate([wanted, queries])
    scaled = (both - both.mean(axis=0)) / np.maximum(both.std(axis=0), 1e-9)
    inputs = np.hstack([scaled, scaled**2, np.ones((len(both), 1))])
    is_wanted = np.arange(len(both)) < len(wanted)
    return _capped(np.exp(np.clip(inputs[~is_wanted] @ _fitted(inputs, is_wanted), -10, 10)))


def effective(weights: NDArray[np.float64]) -> float:
    """As many queries of equal weights know as much (Kish 1965); 0 of none."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0


def _capped(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) shares in proportion to the odds, but for those that would be more than `_MOST` times the mean."""
    shares, most = odds / odds.sum(), _MOST / len(odds)
    is_capped = shares > most
    while (shares[is_capped] != most).any():
        shares[is_capped] = most
        shares[~is_capped] *= (1 - most * is_capped.sum()) / shares[~is_capped].sum()
        is_capped |= shares > most
    return shares


def _fitted(inputs: NDArray[np.float64], is_wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(d,) coefficients, the last one of the constant, of a regression in which both sides count the same."""
    shares = np.where(is_wanted, 0.5 / is_wanted.sum(), 0.5 / (~is_wanted).sum()) * len(inputs)
    ridge = np.eye(inputs.shape[1]) * _RIDGE
    ridge[-1, -1] = 1e-9
    coefficients = np.zeros(inputs.shape[1])
    for _ in range(_STEPS):
        chances = 1 / (1 + np.exp(-np.clip(inputs @ coefficients, -30, 30)))
        gradient = inputs.T @ (shares * (chances - is_wanted)) + ridge @ coefficients
        curvature = (inputs * (shares * chances * (1 - chances))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(curvature, gradient)
        largest = float(np.abs(step).max())
        coefficients -= step * _STEP / max(largest, _STEP)
        if largest < 1e-9:
            break
    return coefficients
