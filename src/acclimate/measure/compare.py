"""Paired comparison of two systems: is one better than the other, or was it chance?

The p-value is of a two-sided paired randomization test: if the systems were equal, each query's difference could as
well have the opposite sign (Smucker, Allan and Carterette, CIKM 2007). The interval is a bootstrap over
queries (see `interval_of`); it covers queries like these, not other collections.

Synthetic queries that were written for parts of one document are not independent: a system good for one of them is good
for others (differences between systems have an intraclass correlation of about .1 there, docs/log.md). So their signs
are changed together, and they are resampled together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from math import sqrt
from statistics import NormalDist
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acclimate.base.errors import DataError
from acclimate.base.text import counted
from acclimate.corpus.judged_queries import SYNTHETIC
from acclimate.measure.prediction_powered import students_t

TIE = 1e-9  # differences up to this are rounding errors
ALPHA = 0.05  # significance level
# Error of differences on unjudged queries: twice the root mean square over nine collections (docs/log.md).
# It adds to chance, so smaller differences do not count.
ERROR_WITHOUT_LABELS = 0.025
EXACT_PAIRS = 14  # number of differing pairs up to which all 2**14 sign assignments are tried
NO_SOURCES: Mapping[str, str] = MappingProxyType({})
_CELLS = 2**21  # random numbers held at once
_KEPT_CELLS = 2**26  # bytes of bootstrap samples cached for further values of as many queries
_VALUES, _DIFFERENCES = (0.0, 1.0), (-1.0, 1.0)  # ranges of measures, and of their differences

Verdict = Literal["WIN", "NO DIFFERENCE", "REGRESSION"]
Floats = NDArray[np.float64]


class PairedTest(NamedTuple):
    """What decides whether systems differ on some queries: see `compare` and `verdict`."""

    seed: int = 0
    sources: Mapping[str, str] = NO_SOURCES
    min_difference: float = 0.0


def least_difference(split: str) -> float:
    """The smallest difference that counts on queries of this split."""
    return ERROR_WITHOUT_LABELS if split == SYNTHETIC else 0.0


class Comparison(NamedTuple):
    """A system against a baseline on one measure; `delta` is the system's mean minus the baseline's.

    >>> row = acclimate.open("run").report.comparisons[0]
    >>> row.queries == row.wins + row.losses + row.ties
    True
    """

    system: str
    baseline: str
    measure: str
    delta: float
    ci95: tuple[float, float]
    p: float
    wins: int
    losses: int
    ties: int
    queries: int

    def for_report(self) -> dict[str, Any]:
        """As a report has it."""
        return {
            "system": self.system,
            "baseline": self.baseline,
            "measure": self.measure,
            "delta": round(self.delta, 5),
            "ci95": [round(edge, 5) for edge in self.ci95],
            "p": round(self.p, 5),
            "wins": self.wins,
            "losses": self.losses,
            "ties": self.ties,
        }


def compare(
    system_values: Mapping[str, float],
    baseline_values: Mapping[str, float],
    *,
    system: str,
    baseline: str,
    measure: str,
    seed: int = 0,
    samples: int = 10_000,
    sources: Mapping[str, str] = NO_SOURCES,
) -> Comparison:
    """Compare two systems' values of one measure, query_id -> value, over the same queries.

    The order of queries does not matter, and swapping the systems only changes the sign. Raises DataError if the
    queries differ, if there are none, and for a value that is not finite.

    Parameters
    ----------
    samples
        Assignments of signs, and bootstrap samples, to draw. With 14 different pairs or fewer the test tries all.
    sources
        query_id -> the document that the query was written for; the others are independent.
    """
    _check_same_queries(system_values, baseline_values, system, baseline)
    ours, theirs = _by_query(system_values), _by_query(baseline_values)
    differences = ours - theirs
    differences[np.abs(differences) <= TIE] = 0.0
    totals, counts = _by_source(differences, system_values, sources)
    return Comparison(
        system=system,
        baseline=baseline,
        measure=measure,
        delta=float(differences.mean()),
        ci95=_interval(totals, counts, seed, samples, _DIFFERENCES),
        p=_randomization_p(totals[np.abs(totals) > TIE], seed, samples),
        wins=int((differences > 0).sum()),
        losses=int((differences < 0).sum()),
        ties=int((differences == 0).sum()),
        queries=len(differences),
    )


def verdict(comparison: Comparison, *, min_difference: float = 0.0) -> Verdict:
    """WIN or REGRESSION if p is below `ALPHA` and the difference at least `min_difference`; else NO DIFFERENCE."""
    if comparison.p >= ALPHA or comparison.delta == 0 or abs(comparison.delta) < min_difference:
        return "NO DIFFERENCE"
    return "WIN" if comparison.delta > 0 else "REGRESSION"


def interval(
    values: Mapping[str, float], *, seed: int = 0, samples: int = 10_000, sources: Mapping[str, str] = NO_SOURCES
) -> tuple[float, float]:
    """95% interval of the mean of one system's values, query_id -> value. sources: see `compare`."""
    return _interval(*_by_source(_by_query(values), values, sources), seed, samples, _VALUES)


def interval_of(samples: Floats, count: int, whole: tuple[float, float]) -> tuple[float, float]:
    """95% interval of a statistic computed on bootstrap samples of `count` independent queries, or sources of queries.

    whole: the range of the statistic, which is the interval of a single query: it tells nothing about others.

    Plain percentiles are too narrow for few queries: with ten they cover the mean in 9 of 10 cases, since samples vary
    less than the population and its tails are not Student's. So percentiles further out are taken (the expanded
    percentile interval, Hesterberg, The American Statistician 2015). Values that are all equal have no spread; they
    say of others only that they are rare: at most as many as would have shown in 39 of 40 cases.
    """
    if count == 1:
        return whole
    if np.ptp(samples) <= TIE:
        equal, others = float(samples[0]), 1 - 0.025 ** (1 / count)
        return equal - others * (equal - whole[0]), equal + others * (whole[1] - equal)
    beyond = NormalDist().cdf(-sqrt(count / (count - 1)) * students_t(0.975, count - 1))
    low, high = np.quantile(samples, [beyond, 1 - beyond])
    return float(low), float(high)


def _randomization_p(differences: Floats, seed: int, samples: int) -> float:
    """The share of sign assignments whose sum is at least as far from 0 as the actual sum. No difference may be 0."""
    count = len(differences)
    total = differences.sum()
    least = abs(total) - TIE * np.abs(differences).sum()  # equal sums may differ by rounding
    if count <= EXACT_PAIRS:
        flipped = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float((np.abs(total - 2 * (flipped @ differences)) >= least).mean())
    random = np.random.default_rng([seed, 0])
    as_far = 0
    for rows in _batches(samples, count):
        flipped = random.integers(2, size=(rows, count), dtype=np.int8)
        as_far += int((np.abs(total - 2 * (flipped @ differences)) >= least).sum())
    return (as_far + 1) / (samples + 1)


def _interval(
    totals: Floats, counts: Floats, seed: int, samples: int, whole: tuple[float, float]
) -> tuple[float, float]:
    """totals, counts: see `_by_source`. whole: see `interval_of`."""
    count = len(totals)
    resampled = _kept if samples * count <= _KEPT_CELLS else _resampled
    drawn = (times.astype(np.float64) for times in resampled(count, seed, samples))
    return interval_of(np.concatenate([times @ totals / (times @ counts) for times in drawn]), count, whole)


def _resampled(count: int, seed: int, samples: int) -> Iterator[NDArray[np.uint8]]:
    """(rows, count) how often each query, or source of queries, is in each bootstrap sample, in batches.

    Depends on their number only, so systems and measures on the same queries share the samples.
    """
    random = np.random.default_rng([seed, 1])
    for rows in _batches(samples, count):
        drawn = random.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.uint8)


@lru_cache(maxsize=1)
def _kept(count: int, seed: int, samples: int) -> list[NDArray[np.uint8]]:
    return [*_resampled(count, seed, samples)]


def _batches(samples: int, width: int) -> Iterator[int]:
    """Batch sizes that add up to `samples`, each small enough for memory."""
    most = max(1, _CELLS // width)
    for done in range(0, samples, most):
        yield min(most, samples - done)


def _by_query(values: Mapping[str, float]) -> Floats:
    """The values sorted by query id."""
    if not values:
        raise DataError("no queries to compare on")
    array = np.array([values[query_id] for query_id in sorted(values)], dtype=np.float64)
    if not np.isfinite(array).all():
        bad = next(query_id for query_id in sorted(values) if not np.isfinite(values[query_id]))
        raise DataError(f"query {bad!r}: found {values[bad]}; expected a finite number")
    return array


def _by_source(values: Floats, query_ids: Iterable[str], sources: Mapping[str, str]) -> tuple[Floats, Floats]:
    """The total and the number of the values of each source, which are those of the sorted queries."""
    rows_of: dict[tuple[bool, str], int] = {}
    of_queries = ((query_id in sources, sources.get(query_id, query_id)) for query_id in sorted(query_ids))
    rows = [rows_of.setdefault(source, len(rows_of)) for source in of_queries]
    totals, counts = np.zeros(len(rows_of)), np.zeros(len(rows_of))
    np.add.at(totals, rows, values)
    np.add.at(counts, rows, 1.0)
    return totals, counts


def _check_same_queries(ours: Mapping[str, float], theirs: Mapping[str, float], system: str, baseline: str) -> None:
    for have, lack, name in ((ours, theirs, baseline), (theirs, ours, system)):
        if missing := sorted(have.keys() - lack.keys()):
            some = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
            raise DataError(f"{name} has no value for {counted(len(missing), 'query')} that the other has: {some}")
