"""TREC runs on the same judgments: which one is better, and whether that was luck."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.base.errors import DataError, MissingExtra
from acclimate.base.text import on_one_line
from acclimate.corpus.formats import read_qrels, read_run
from acclimate.corpus.formats.fields import as_json
from acclimate.measure.compare import Comparison, compare, verdict
from acclimate.measure.measures import nothing_relevant, per_query
from acclimate.measure.named import means_of
from acclimate.measure.rows import Rows
from acclimate.records import Qrel, ScoredDoc

if TYPE_CHECKING:
    from pandas import DataFrame

logger = logging.getLogger("acclimate")


@dataclass(frozen=True)
class Compared:
    """A run against a baseline: means of a measure over all judged queries, in [0, 1], and their comparison.

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
    """A run against each of some baselines; `warnings` are what a reader should know of the files.

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
        """A pandas data frame with a row for each baseline. Raises MissingExtra without pandas."""
        try:
            import pandas
        except ImportError:
            raise MissingExtra("A data frame", "pip install pandas") from None
        means = [{"mean": row.mean, "baseline_mean": row.baseline_mean} for row in self.rows]
        return pandas.DataFrame([row.comparison._asdict() | both for row, both in zip(self.rows, means, strict=True)])


def compare_runs(qrels: Path, run: Path, *baselines: Path, measure: str, seed: int) -> Comparisons:
    """The runs as they stand in their files, over every judged query. What should be known of them is logged, too.

    Raises SettingError for what is no measure, and DataError for judgments without a relevant document and for a run
    that cannot be one of theirs: an empty one, or one that shares no query or no document with them.
    """
    means_of([measure])
    judged = read_qrels(qrels)
    if all(qrel.relevance <= 0 for qrel in judged):
        raise DataError(
            f"none of the {len(judged):,} judgments is above 0: nothing can be measured on them", path=qrels
        )
    runs = {path: _read(path, judged, qrels) for path in (run, *baselines)}
    values = {path: per_query(hits, judged, [measure])[measure] for path, hits in runs.items()}
    warnings = list(_warnings(judged, runs))
    for warning in warnings:
        logger.warning("%s", f"warning: {warning}")
    rows = [
        Compared(
            compare(values[run], values[path], system=run.name, baseline=path.name, measure=measure, seed=seed),
            _mean(values[run]),
            _mean(values[path]),
        )
        for path in baselines
    ]
    return Comparisons(rows, warnings)


def _read(path: Path, judged: Sequence[Qrel], qrels: Path) -> list[ScoredDoc]:
    """The run, once it is sure that it is one of the queries and documents that are judged."""
    hits = list(read_run(path))
    if not hits:
        raise DataError("no line in this file; expected a run: qid Q0 docid rank score tag", path=path)
    for what, ranked, known in (
        ("queries", [hit.query_id for hit in hits], [qrel.query_id for qrel in judged]),
        ("documents", [hit.doc_id for hit in hits], [qrel.doc_id for qrel in judged]),
    ):
        if not set(ranked) & set(known):
            raise DataError(
                f"none of its {len(set(ranked)):,} {what} ({_few(ranked)}) is judged in {qrels}, which has "
                f"{_few(known)}; do the two belong together?",
                path=path,
            )
    return hits


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)


def _few(ids: Sequence[str]) -> str:
    different = list(dict.fromkeys(ids))
    return ", ".join(as_json(name) for name in different[:3]) + (", ..." if len(different) > 3 else "")


def _warnings(judged: Sequence[Qrel], runs: Mapping[Path, Sequence[ScoredDoc]]) -> Iterator[str]:
    queries = {qrel.query_id for qrel in judged}
    for path, hits in runs.items():
        if missing := len(queries - {hit.query_id for hit in hits}):
            yield f"{path} has nothing for {missing:,} of {len(queries):,} judged queries; they count 0 for it"
    if empty := nothing_relevant(judged):
        yield f"{empty:,} of {len(queries):,} judged queries have no relevant document; they count 0, as with trec_eval"
