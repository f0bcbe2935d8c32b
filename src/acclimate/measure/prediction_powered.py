"""Prediction-powered inference: a mean from few values of people and many of a judge.

The judge's mean over all queries is corrected by its error on those that people graded too (Angelopoulos, Bates,
Fannjiang, Jordan and Zrnic, Science 2023; for retrieval: ARES, Saad-Falcon et al., 2023). Lambda, the reliance on the
judge, minimizes the interval (PPI++, Angelopoulos, Duchi and Zrnic, 2023): near 0 for a judge that does not follow
people, so a bad judge costs nothing; the mean is unbiased with any judge. The queries that people graded must be a
random sample. Where several were written for one document, which makes them alike (docs/log.md), the interval is wider
by the root of the design effect (Kish, Survey Sampling, 1965).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_NONE = 1e-12  # of variances: smaller values are rounding errors
MIN_VALUES = 10  # minimum number of people's values, of different sources


class PoweredMean(NamedTuple):
    """A mean and its interval, with the judge's help and without."""

    mean: float
    ci95: tuple[float, float]
    reliance: float  # lambda: the weight of the judge, 0 to 1
    by_people: float  # mean of people's values alone
    ci95_by_people: tuple[float, float]
    n_people: int
    n_judged: int  # number of values of the judge alone

    def for_report(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "mean": round(self.mean, 5),
            "ci95": [round(end, 5) for end in self.ci95],
            "reliance": round(self.reliance, 5),
            "by_people": round(self.by_people, 5),
            "ci95_by_people": [round(end, 5) for end in self.ci95_by_people],
            "people_queries": self.n_people,
            "judged_queries": self.n_judged,
        }


def powered_mean(
    people: ArrayLike,
    judge: ArrayLike,
    judge_alone: ArrayLike,
    *,
    within: tuple[float, float] = (-1.0, 1.0),
    sources: Sequence[str] = (),
) -> PoweredMean:
    """Estimate the mean that people would give over all queries.

    people, judge: (n,) values of the same queries, n >= 2. judge_alone: (N,) values of queries without people's grades;
    if empty, the judge does not help. The interval is Student's, with n - 1 degrees of freedom, clipped to `within`.
    sources: what each of the n + N queries was written for, of which people's have at least two; empty: queries are
    independent.
    """
    theirs, its, others = (np.asarray(values, np.float64) for values in (people, judge, judge_alone))
    n, n_others = len(theirs), len(others)
    quantile = students_t(0.975, (len({*sources[:n]}) or n) - 1)
    by_people = float(theirs.mean())
    spread = theirs.var(ddof=1) / n * _design_effect(theirs - by_people, sources[:n])
    margin_by_people = quantile * float(np.sqrt(spread))
    reliance, mean, margin = 0.0, by_people, margin_by_people
    variance = np.concatenate([its, others]).var(ddof=1)
    if n_others and variance > _NONE:
        covariance = float(np.cov(theirs, its)[0, 1])
        reliance = float(np.clip(covariance / ((1 + n / n_others) * variance), 0, 1))
        rectified = theirs - reliance * its
        mean = float(reliance * others.mean() + rectified.mean())
        shares = ((rectified - rectified.mean()) / n, reliance * (others - others.mean()) / n_others)
        spread = rectified.var(ddof=1) / n + reliance**2 * variance / n_others
        spread *= _design_effect(np.concatenate(shares), sources)
        margin = quantile * float(np.sqrt(spread))

    def around(middle: float, margin: float) -> tuple[float, float]:
        low, high = np.clip([middle - margin, middle + margin], *within)
        return float(low), float(high)

    mean, by_both = float(np.clip(mean, *within)), around(mean, margin)
    return PoweredMean(mean, by_both, reliance, by_people, around(by_people, margin_by_people), n, n_others)


def _design_effect(deviations: NDArray[np.float64], sources: Sequence[str]) -> float:
    """How much larger a mean's variance is than if queries of one source were independent; at least 1."""
    _, place = np.unique(np.array(sources), return_inverse=True)
    independent = float((deviations**2).sum())
    if len(place) < len(deviations) or place.max() == len(place) - 1 or independent < _NONE:
        return 1.0
    return max(1.0, float((np.bincount(place, deviations) ** 2).sum()) / independent)


def students_t(share: float, degrees: int) -> float:
    """Quantile of Student's distribution, right to .001 from 4 degrees of freedom (Abramowitz and Stegun, 26.7.5)."""
    z = NormalDist().inv_cdf(share)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / degrees**power for power, term in enumerate(terms))
