"""Compare TREC runs on the same judgments."""

from __future__ import annotations

from acclimate.base.arguments import StrPath, path_of
from acclimate.base.domains import SEEDS
from acclimate.measure.compared_runs import Comparisons, compare_runs
from acclimate.run.settings import whole_number


def compare(
    qrels: StrPath,
    run: StrPath,
    baseline: StrPath,
    *others: StrPath,
    measure: str = "nDCG@10",
    seed: int = 0,
) -> Comparisons:
    """Compare a TREC run, and others, with a baseline: paired randomization test, interval, wins and losses.

    Every judged query counts; a query without results counts 0. The p-value is two-sided (Smucker, Allan and
    Carterette, CIKM 2007), the 95% interval a bootstrap over queries; `seed` seeds both.

    qrels: BEIR or TREC qrels. measure: an ir-measures name: nDCG@10, R@1000, RR, AP(rel=2). Raises SettingError for an
    unknown measure, and DataError for files that cannot be used or do not belong together.

    >>> folder = Path("run/evaluate")
    >>> runs = [folder / "runs" / "dense.trec", folder / "runs" / "bm25.trec"]
    >>> print(acclimate.compare(folder / "qrels.trec", *runs))  # doctest: +ELLIPSIS
    nDCG@10: ... against ..., difference ..., p = ...; ... better, ... worse, ... equal: ...
    """
    seed = whole_number(seed, "seed", SEEDS)
    return compare_runs(
        path_of(qrels, "qrels"),
        path_of(run, "run"),
        *(path_of(each, "baseline") for each in (baseline, *others)),
        measure=measure,
        seed=seed,
    )
