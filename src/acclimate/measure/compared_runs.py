"""Compare TREC runs on the same judgments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.base.text import on_one_line
from acclimate.measure.compare import Comparison, compare, verdict
from acclimate.measure.evaluated_runs import evaluate_runs
from acclimate.measure.named import means_of, measure_of
from acclimate.measure.rows import Rows, data_frame

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Compared:
    """A run against a baseline: their means of a measure over all judged queries, in [0, 1], and the comparison.

    >>> runs = [f"run/evaluate/runs/{name}.trec" for name in ("hybrid", "bm25")]
    >>> row = acclimate.compare("run/evaluate/qrels.trec", *runs)[0]
    >>> abs(row.mean - row.baseline_mean - row.comparison.delta) < 1e-9
    True
    """

    comparison: Comparison
    mean: float
    baseline_mean: float

    def __str__(self) -> str:
        row = self.comparison
        return (
            f"{row.measure}: {self.mean:.4f} against {self.baseline_mean:.4f}, "
            f"difference {row.delta:+.4f} [{row.ci95[0]:+.4f}, {row.ci95[1]:+.4f}], p = {row.p:.4f}; "
            f"{row.wins} better, {row.losses} worse, {row.ties} equal: {verdict(row)}"
        )


class Comparisons(Rows[Compared]):
    """A run against several baselines; `warnings` concern the files.

    >>> runs = [f"run/evaluate/runs/{name}.trec" for name in ("hybrid", "bm25", "dense")]
    >>> len(acclimate.compare("run/evaluate/qrels.trec", *runs))
    2
    """

    def __str__(self) -> str:
        if len(self.rows) == 1:
            return str(self.rows[0])
        pairs = (on_one_line(f"{row.comparison.system} against {row.comparison.baseline}") for row in self.rows)
        return "\n".join(f"{pair}: {row}" for pair, row in zip(pairs, self.rows, strict=True))

    def to_frame(self) -> DataFrame:
        """A pandas data frame with a row per baseline. Raises MissingExtra without pandas."""
        means = [{"mean": row.mean, "baseline_mean": row.baseline_mean} for row in self.rows]
        return data_frame([row.comparison._asdict() | both for row, both in zip(self.rows, means, strict=True)])


def compare_runs(qrels: Path, run: Path, *baselines: Path, measure: str, seed: int) -> Comparisons:
    """Compare run files over every judged query, reading them as `evaluate_runs` does.

    Raises SettingError for an unknown measure, and DataError for judgments without a relevant document and for a run
    that does not belong to them: empty, or without a common query or document.
    """
    means_of([measure])
    name = measure_of(measure).name
    reached = evaluate_runs(qrels, (run, *baselines), measures=[name], relevance_threshold=1, remove_unjudged=False)
    ours, *others = reached
    paths = (run, *baselines)
    has_names = len({path.name for path in paths}) == len({*paths})
    shown = {path: path.name if has_names else str(path) for path in paths}
    rows = [
        Compared(
            compare(
                ours.per_query[name],
                theirs.per_query[name],
                system=shown[run],
                baseline=shown[path],
                measure=measure,
                seed=seed,
            ),
            ours.measures[name],
            theirs.measures[name],
        )
        for path, theirs in zip(baselines, others, strict=True)
    ]
    return Comparisons(rows, reached.warnings)
