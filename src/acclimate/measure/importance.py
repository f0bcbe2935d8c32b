"""Importance weights that make a set of queries resemble another.

A logistic regression separates the two sets; its odds estimate their density ratio (Sugiyama, Suzuki and Kanamori,
Density Ratio Estimation in Machine Learning, 2012, chapter 4), so queries that resemble the target set weigh more. It
is fitted by Newton's method with a ridge. Both sets have equal total weight whatever their size: a log of twenty
queries moves weights about as far as one of thousands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RIDGE = 5.0
_FEWEST = 10  # minimum number of queries on either side
_MOST = 10.0  # times the mean weight: no query dominates
_STEPS = 100
_STEP = 1.0  # maximum change of a coefficient per step, as Newton's method overshoots from afar


def importance_weights(queries: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) weights of the queries, sum 1, that make them most like the target queries.

    queries: (n, d) features. target: (m, d) features of the target queries. Weights are equal if either set has fewer
    than ten. Squared features are included, so that variances match as well as means.
    """
    n = len(queries)
    if min(n, len(target)) < _FEWEST:
        return np.full(n, 1 / max(1, n))
    both = np.concatenate([target, queries])
    scaled = (both - both.mean(axis=0)) / np.maximum(both.std(axis=0), 1e-9)
    inputs = np.hstack([scaled, scaled**2, np.ones((len(both), 1))])
    is_wanted = np.arange(len(both)) < len(target)
    return _capped(np.exp(np.clip(inputs[~is_wanted] @ _fitted(inputs, is_wanted), -10, 10)))


def effective(weights: NDArray[np.float64]) -> float:
    """Effective sample size of weighted queries (Kish 1965); 0 if empty."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0


def _capped(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) weights in proportion to the odds, capped at `_MOST` times the mean."""
    shares, most = odds / odds.sum(), _MOST / len(odds)
    is_capped = shares > most
    while (shares[is_capped] != most).any():
        shares[is_capped] = most
        shares[~is_capped] *= (1 - most * is_capped.sum()) / shares[~is_capped].sum()
        is_capped |= shares > most
    return shares


def _fitted(inputs: NDArray[np.float64], is_wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(d,) coefficients of a regression with equal total weight for both classes; the last is the intercept."""
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
