"""Evaluate TREC runs by any measures."""

from __future__ import annotations

from collections.abc import Iterable

from acclimate.base.arguments import StrPath, path_of
from acclimate.base.domains import AtLeast
from acclimate.base.errors import SettingError
from acclimate.measure.evaluated_runs import EvaluatedRuns, evaluate_runs
from acclimate.measure.measures import MEASURES
from acclimate.run.settings import whole_number


def evaluate_run(
    qrels: StrPath,
    *runs: StrPath,
    measures: str | Iterable[str] = MEASURES,
    relevance_threshold: int = 1,
    remove_unjudged: bool = False,
) -> EvaluatedRuns:
    """Evaluate one or several runs, equal to trec_eval and ir_measures in all four digits.

    Every judged query counts; one without results counts 0. Equal scores rank by doc id, the larger first. Each
    measure is always computed by the same library, whatever else is installed (`providers`).

    qrels: BEIR or TREC qrels. runs: TREC runs or ColBERT rankings, also .gz. measures: ir-measures names, as a list or
    as text separated by blanks or commas: nDCG@10, R@1000, RR, AP(rel=2), Judged@10. relevance_threshold: the lowest
    grade that counts as relevant in binary measures (trec_eval -l). remove_unjudged: remove unjudged documents first
    (trec_eval -J). Raises SettingError for an unknown measure, MissingExtra for one whose library is not installed, and
    DataError for files that cannot be used or do not belong together.

    >>> runs = acclimate.evaluate_run("run/evaluate/qrels.trec", "run/evaluate/runs/bm25.trec", measures="nDCG@10, RR")
    >>> list(runs[0].measures)
    ['nDCG@10', 'RR']
    """
    if not runs:
        raise SettingError("no run to evaluate; expected one or more TREC runs behind the judgments")
    relevance_threshold = whole_number(relevance_threshold, "relevance_threshold", AtLeast(1))
    return evaluate_runs(
        path_of(qrels, "qrels"),
        [path_of(run, "run") for run in runs],
        measures=measures,
        relevance_threshold=relevance_threshold,
        remove_unjudged=remove_unjudged,
    )
