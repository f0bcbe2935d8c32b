"""Evaluate runs on any measures, as trec_eval and ir_measures do."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from acclimate.base.errors import DataError
from acclimate.base.files import text_writer
from acclimate.base.text import columns, counted, on_one_line, quoted
from acclimate.corpus.formats import read_qrels, read_run
from acclimate.corpus.formats.trec import escaped
from acclimate.measure.measures import measured, nothing_relevant, provider_of
from acclimate.measure.named import cut_below, measures_of, of_a_cut_run
from acclimate.measure.rows import Rows, data_frame
from acclimate.records import ScoredDoc

if TYPE_CHECKING:
    from pandas import DataFrame

logger = logging.getLogger("acclimate")


class EvaluatedRun(NamedTuple):
    """The measures of one run.

    >>> row = acclimate.evaluate_run("run/evaluate/qrels.trec", "run/evaluate/runs/bm25.trec", measures="AP")[0]
    >>> row.measures["AP"] == sum(row.per_query["AP"].values()) / len(row.per_query["AP"])
    True
    """

    name: str  # its path as given
    measures: dict[str, float]  # means over all judged queries; sums for counts such as NumRet
    per_query: dict[str, dict[str, float]]  # measure -> query_id -> value


class EvaluatedRuns(Rows[EvaluatedRun]):
    """Runs evaluated on the same judgments; `warnings` concern the files.

    >>> runs = [f"run/evaluate/runs/{name}.trec" for name in ("hybrid", "bm25")]
    >>> [row.name for row in acclimate.evaluate_run("run/evaluate/qrels.trec", *runs, measures="nDCG@10 Judged@10")]
    ['run/evaluate/runs/hybrid.trec', 'run/evaluate/runs/bm25.trec']
    """

    def __init__(self, rows: Sequence[EvaluatedRun], n_queries: int, warnings: Sequence[str]) -> None:
        super().__init__(rows, warnings)
        self.n_queries = n_queries

    @property
    def providers(self) -> dict[str, str]:
        """Measure -> the library that computed it, with version."""
        return {measure: provider_of(measure) for measure in self.rows[0].measures}

    def __str__(self) -> str:
        """A table with a row per run."""
        names = list(self.rows[0].measures)
        table = [["run", *names]]
        table += [[on_one_line(row.name), *(f"{row.measures[name]:.4f}" for name in names)] for row in self.rows]
        return "\n".join(columns(table, "<" + ">" * len(names)))

    def as_dict(self) -> dict[str, Any]:
        """As JSON: number of queries, providers, and each run's measures."""
        runs = [{"run": row.name, "measures": row.measures} for row in self.rows]
        return {"queries": self.n_queries, "providers": self.providers, "runs": runs}

    def to_frame(self) -> DataFrame:
        """A pandas data frame with a row per run. Raises MissingExtra without pandas."""
        return data_frame([{"run": row.name, **row.measures} for row in self.rows])

    def write_per_query(self, path: Path) -> None:
        """Write a tab-separated row per run, query and measure; ids as in TREC files."""
        with text_writer(path) as lines:
            lines.write("run\tquery_id\tmeasure\tvalue\n")
            for row in self.rows:
                for measure, values in row.per_query.items():
                    for query_id, value in values.items():
                        lines.write(f"{escaped(row.name)}\t{escaped(query_id)}\t{measure}\t{value!r}\n")


@dataclass
class _RunWatcher:
    """Collects what a run contains while it is streamed."""

    grades: Mapping[tuple[str, str], int]  # of judged (query, document) pairs
    doc_ids: frozenset[str]  # judged for any query
    queries: Counter[str] = field(default_factory=Counter[str])  # with the number of their hits
    first_doc: str = ""
    has_judged_doc: bool = False

    def watch(self, hits: Iterable[ScoredDoc], *, remove_unjudged: bool) -> Iterator[ScoredDoc]:
        """Pass the hits on, optionally without unjudged ones."""
        for hit in hits:
            self.queries[hit.query_id] += 1
            self.first_doc = self.first_doc or hit.doc_id
            self.has_judged_doc = self.has_judged_doc or hit.doc_id in self.doc_ids
            if not remove_unjudged or (hit.query_id, hit.doc_id) in self.grades:
                yield hit


def evaluate_runs(
    qrels: Path, runs: Sequence[Path], *, measures: str | Iterable[str], relevance_threshold: int, remove_unjudged: bool
) -> EvaluatedRuns:
    """Evaluate each run on each measure, reading runs as streams; see `api.evaluate_run`.

    Warnings are also logged.
    """
    computed = [measure.with_threshold(relevance_threshold) for measure in measures_of(measures)]
    judged = read_qrels(qrels)
    grades = {(qrel.query_id, qrel.doc_id): qrel.relevance for qrel in judged}
    query_ids = {qrel.query_id for qrel in judged}
    if all(qrel.relevance <= 0 for qrel in judged):
        raise DataError(f"none of the {counted(len(judged), 'judgment')} is above 0: nothing to measure on", path=qrels)
    rows: list[EvaluatedRun] = []
    warnings: list[str] = []
    highest = max(grades.values())
    if zeros := [measure.name for measure in computed if measure.threshold > highest]:
        what = f"the highest grade is {highest}, so no document is relevant for {', '.join(zeros)}"
        if len(zeros) == len(computed):
            raise DataError(f"{what}: nothing to measure on", path=qrels)
        warnings.append(f"{qrels}: {what}, which is 0 for every run")
    for path in runs:
        seen = _RunWatcher(grades, frozenset(doc_id for _, doc_id in grades))
        hits = seen.watch(read_run(path), remove_unjudged=remove_unjudged)
        values = measured(hits, judged, [measure.name for measure in computed])
        _check(path, seen, query_ids, qrels)
        if missing := len(query_ids - seen.queries.keys()):
            warnings.append(
                f"{path} has no results for {missing:,} of {counted(len(query_ids), 'judged query')}; they count 0"
            )
        if others := len(seen.queries.keys() - query_ids):
            warnings.append(f"{path} has {counted(others, 'unjudged query')}; they do not count")
        deepest = max(seen.queries[query_id] for query_id in query_ids)
        if too_low := cut_below(computed, deepest):
            warnings.append(of_a_cut_run(str(path), deepest, too_low))
        totals = {measure.name: sum(values[measure.name].values()) for measure in computed}
        means = {
            measure.name: totals[measure.name] / (1 if measure.is_count else len(query_ids)) for measure in computed
        }
        rows.append(EvaluatedRun(str(path), means, values))
    if empty := nothing_relevant(judged):
        warnings.append(
            f"{empty:,} of {counted(len(query_ids), 'judged query')} have no relevant document; they count 0, as in "
            "trec_eval"
        )
    for warning in warnings:
        logger.warning("%s", f"warning: {warning}")
    return EvaluatedRuns(rows, len(query_ids), warnings)


def _check(path: Path, seen: _RunWatcher, query_ids: set[str], qrels: Path) -> None:
    """Raises DataError for a run that does not belong to these judgments."""
    if not seen.queries:
        raise DataError("no line in this file; expected a run: qid Q0 docid rank score tag", path=path)
    if query_ids.isdisjoint(seen.queries):
        raise DataError(
            f"none of its {counted(len(seen.queries), 'query')}, such as {quoted(min(seen.queries))}, is judged in "
            f"{qrels}, which has {quoted(min(query_ids))}; do the files match?",
            path=path,
        )
    if not seen.has_judged_doc:
        raise DataError(
            f"none of its documents, such as {quoted(seen.first_doc)}, is judged in {qrels}, which has "
            f"{quoted(min(seen.doc_ids))}; do the files match?",
            path=path,
        )
