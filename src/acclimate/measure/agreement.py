"""Agreement of an LLM's grades with people's: Cohen's kappa, plain and linearly weighted, and the confusion matrix.

Kappa is 1 for full agreement, and 0 for agreement by chance given how often each side uses each grade (Cohen, 1960;
weighted by the distance of grades: Cohen, 1968). Pairs of one query are correlated, so the interval is a bootstrap over
queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acclimate.measure.compare import interval_of

GRADES = 4  # 0 to 3
RELEVANT = 2  # lowest LLM grade that counts as relevant, if people only said yes or no
_SAMPLES = 4_000

Grades = Mapping[tuple[str, str], int]  # (query_id, doc_id) -> grade


class Kappa(NamedTuple):
    """A kappa with its 95% interval; None, as undefined, if one side used a single grade."""

    value: float | None
    ci95: tuple[float, float] | None


class Agreement(NamedTuple):
    """Agreement of people and an LLM on the pairs that both graded."""

    pairs: int
    queries: int
    same: float  # share of pairs with equal grades
    plain: Kappa
    weighted: Kappa
    is_binary: bool  # people's grades are 0 and 1: LLM grades of 2 and 3 count as 1
    confusion: list[list[int]]  # people's grade -> the LLM's grade -> number of pairs; original grades

    def for_report(self) -> dict[str, Any]:
        """As JSON."""

        def rounded(kappa: Kappa) -> dict[str, Any]:
            ends = None if kappa.ci95 is None else [round(end, 5) for end in kappa.ci95]
            return {"kappa": None if kappa.value is None else round(kappa.value, 5), "ci95": ends}

        return {
            "pairs": self.pairs,
            "queries": self.queries,
            "same": round(self.same, 5),
            "plain": rounded(self.plain),
            "weighted": rounded(self.weighted),
            "binary": self.is_binary,
            "confusion": self.confusion,
        }


def agreement(people: Grades, llm: Grades, *, seed: int = 0) -> Agreement | None:
    """Agreement of people and an LLM on the pairs that both graded; None if there are none.

    People's grades below 0 count as 0, above 3 as 3. If people's are only 0 and 1, kappas are of binary relevance, with
    LLM grades of 2 and 3 as relevant.
    """
    pairs = sorted(people.keys() & llm.keys())
    if not pairs:
        return None
    query_ids = sorted({query_id for query_id, _ in pairs})
    place = {query_id: number for number, query_id in enumerate(query_ids)}
    given = np.zeros((len(query_ids), GRADES, GRADES), np.int64)
    for pair in pairs:
        theirs, its = (min(max(grades[pair], 0), GRADES - 1) for grades in (people, llm))
        given[place[pair[0]], theirs, its] += 1
    is_binary = not given[:, RELEVANT:].any()
    compared = _yes_or_no(given) if is_binary else given
    total = compared.sum(axis=0)
    return Agreement(
        pairs=len(pairs),
        queries=len(query_ids),
        same=float(np.trace(total) / total.sum()),
        plain=_with_interval(compared, _disagreement(total.shape[0], is_weighted=False), seed),
        weighted=_with_interval(compared, _disagreement(total.shape[0], is_weighted=True), seed),
        is_binary=is_binary,
        confusion=given.sum(axis=0).tolist(),
    )


def _yes_or_no(given: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n_queries, 2, 2) from (n_queries, 4, 4): people's 1, and the LLM's 2 and 3, are yes."""
    no, yes = given[..., :RELEVANT].sum(axis=-1), given[..., RELEVANT:].sum(axis=-1)
    return np.stack([no, yes], axis=-1)[:, :2]


def _disagreement(n_grades: int, *, is_weighted: bool) -> NDArray[np.float64]:
    """(n_grades, n_grades) weight of each pair of grades."""
    steps = np.abs(np.subtract.outer(np.arange(n_grades), np.arange(n_grades))).astype(np.float64)
    return steps if is_weighted else np.minimum(steps, 1.0)


def kappa(confusion: NDArray[Any], disagreement: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...) kappas of confusion matrices (..., n_grades, n_grades); NaN if one side uses a single grade."""
    shares = confusion / confusion.sum(axis=(-1, -2), keepdims=True)
    theirs, its = shares.sum(axis=-1), shares.sum(axis=-2)
    by_chance = np.einsum("...i,...j,ij->...", theirs, its, disagreement)
    seen = np.einsum("...ij,ij->...", shares, disagreement)
    varies = ((theirs > 0).sum(axis=-1) > 1) & ((its > 0).sum(axis=-1) > 1)
    return np.where(varies, 1 - seen / np.where(varies, by_chance, 1.0), np.nan)


def _with_interval(by_query: NDArray[np.int64], disagreement: NDArray[np.float64], seed: int) -> Kappa:
    value = float(kappa(by_query.sum(axis=0), disagreement))
    if np.isnan(value):
        return Kappa(None, None)
    count = len(by_query)
    times = np.random.default_rng([seed, 2]).multinomial(count, np.full(count, 1 / count), size=_SAMPLES)
    samples = kappa(np.einsum("sq,qij->sij", times, by_query), disagreement)
    samples = samples[~np.isnan(samples)]
    return Kappa(value, interval_of(samples, count, (-1.0, 1.0)))
