"""The commands that work on files of the field, without a run: TREC runs and judgments."""

from __future__ import annotations

from pathlib import Path

import acclimate
from acclimate.cli.options import Measure, Seed


def compare(
    qrels: Path,
    run: Path,
    baseline: Path,
    *others: Path,
    measure: Measure = "nDCG@10",
    seed: Seed = 0,
) -> None:
    """Compare TREC runs on the same judgments: paired randomization test, bootstrap interval, wins and losses.

    Parameters
    ----------
    qrels
        Judgments, as BEIR or TREC qrels.
    run
        The run that should be better.
    baseline
        The run that it is compared with.
    others
        More runs to compare it with.
    measure
        Such as nDCG@10, R@100, RR@10 or Success@5.
    seed
        Of the test's and the interval's draws.
    """
    print(acclimate.compare(qrels, run, baseline, *others, measure=measure, seed=seed))
