"""Two TREC runs on the same judgments: which one is better, and whether that was luck."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acclimate.base.errors import DataError
from acclimate.corpus.formats import read_qrels, read_run
from acclimate.corpus.formats.fields import quoted
from acclimate.measure.compare import Comparison, compare, verdict
from acclimate.measure.measures import nothing_relevant, parsed, per_query
from acclimate.records import Qrel, ScoredDoc


@dataclass(frozen=True)
class Compared:
    """What was found, and what a reader should know of it."""

    comparison: Comparison
    mean: float
    baseline_mean: float
    warnings: Sequence[str]

    def __str__(self) -> str:
        one = self.comparison
        return (
            f"{one.measure}: {self.mean:.4f} against {self.baseline_mean:.4f}, "
            f"difference {one.delta:+.4f} [{one.ci95[0]:+.4f}, {one.ci95[1]:+.4f}], p = {one.p:.4f}; "
            f"{one.wins} better, {one.losses} worse, {one.ties} equal: {verdict(one)}"
        )


def compare_runs(qrels: Path, run: Path, baseline: Path, *, measure: str, seed: int) -> Compared:
    """The runs as they stand in their files, over every judged query.

    Raises SettingError for what is no measure, and DataError for judgments without a relevant document and for a run
    that cannot be one of theirs: an empty one, or one that shares no query or no document with them.
    """
    parsed(measure)
    judged = read_qrels(qrels)
    if all(qrel.relevance <= 0 for qrel in judged):
        raise DataError(
            f"none of the {len(judged):,} judgments is above 0: nothing can be measured on them", path=qrels
        )
    runs = {path: _read(path, judged, qrels) for path in (run, baseline)}
    one, other = (per_query(runs[path], judged, [measure])[measure] for path in (run, baseline))
    result = compare(one, other, system=run.name, baseline=baseline.name, measure=measure, seed=seed)
    return Compared(result, _mean(one), _mean(other), list(_warnings(judged, runs)))


def _read(path: Path, judged: Sequence[Qrel], qrels: Path) -> list[ScoredDoc]:
    """The run, once it is sure that it is one of the queries and documents that are judged."""
    hits = list(read_run(path))
    if not hits:
        raise DataError("no line in this file; expected a run: qid Q0 docid rank score tag", path=path)
    for what, found, known in (
        ("queries", [hit.query_id for hit in hits], [qrel.query_id for qrel in judged]),
        ("documents", [hit.doc_id for hit in hits], [qrel.doc_id for qrel in judged]),
    ):
        if not set(found) & set(known):
            raise DataError(
                f"none of its {len(set(found)):,} {what} ({_few(found)}) is judged in {qrels}, which has "
                f"{_few(known)}; do the two belong together?",
                path=path,
            )
    return hits


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)


def _few(ids: Sequence[str]) -> str:
    different = list(dict.fromkeys(ids))
    return ", ".join(quoted(one) for one in different[:3]) + (", ..." if len(different) > 3 else "")


def _warnings(judged: Sequence[Qrel], runs: Mapping[Path, Sequence[ScoredDoc]]) -> Iterator[str]:
    queries = {qrel.query_id for qrel in judged}
    for path, hits in runs.items():
        if missing := len(queries - {hit.query_id for hit in hits}):
            yield f"{path} has nothing for {missing:,} of {len(queries):,} judged queries; they count 0 for it"
    if empty := nothing_relevant(judged):
        yield f"{empty:,} of {len(queries):,} judged queries have no relevant document; they count 0, as with trec_eval"
