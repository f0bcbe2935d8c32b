"""TREC runs by themselves, on any measures."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from acclimate.base.domains import AtLeast
from acclimate.base.errors import SettingError
from acclimate.measure.evaluated_runs import EvaluatedRuns, evaluate_runs
from acclimate.measure.measures import MEASURES
from acclimate.run.settings import whole_number


def evaluate_run(
    qrels: str | PathLike[str],
    *runs: str | PathLike[str],
    measures: str | Iterable[str] = MEASURES,
    relevance_threshold: int = 1,
    remove_unjudged: bool = False,
) -> EvaluatedRuns:
    """What one run or several reach on judgments, as trec_eval and ir_measures have it to the last of four digits.

    Every judged query counts; one that a run has nothing for is 0. Equal scores rank by doc id. Each measure is
    computed by one library, whatever else is installed (`providers`).

    qrels: BEIR or TREC qrels. runs: TREC runs or ColBERT rankings, .gz, too. measures: names of ir-measures, in a text
    with blanks or commas between them, or in a list: nDCG@10, R@1000, RR, AP(rel=2), Judged@10.
    relevance_threshold: the grade from which on a document is relevant, for measures that know relevant or not
    (trec_eval -l). remove_unjudged: take out what nobody judged, before anything is measured (trec_eval -J).
    Raises SettingError for what is no measure, MissingExtra for one whose library is not installed, and DataError for
    files that cannot be used or do not belong together.

    >>> runs = acclimate.evaluate_run("run/evaluate/qrels.trec", "run/evaluate/runs/bm25.trec", measures="nDCG@10, RR")
    >>> list(runs[0].measures)
    ['nDCG@10', 'RR']
    """
    if not runs:
        raise SettingError("no run to evaluate; expected one or more TREC runs behind the judgments")
    relevance_threshold = whole_number(relevance_threshold, "relevance_threshold", AtLeast(1))
    return evaluate_runs(
        Path(qrels),
        [Path(run) for run in runs],
        measures=measures,
        relevance_threshold=relevance_threshold,
        remove_unjudged=remove_unjudged,
    )
