"""How well measures without labels rank systems, compared with people's judgments.

    python benchmarks/belief.py pydocs DATA/scifact DATA/npl ...

Each collection is adapted to with its test judgments alone, which choose nothing. Then at least a dozen systems (BM25
with three settings, dense, late interaction, fusions, students, a reranker) are ranked by measures that know no label,
and by the judgments: Kendall's tau, and regret, the nDCG@10 that is lost by serving the system that a measure puts
first. For the measures that a log of real queries helps, or a few of them judged, queries are drawn from the test
queries; those that are judged are not measured on. Runs are kept under belief-run/ and go on where they were.

The last line is `mean tau T min tau T mean regret R verdicts agree N of M`: of what choices rest on without anything,
and of the verdict on queries that nobody judged against the verdict by the judgments.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, pearsonr

import acclimate
from acclimate.base import draw
from acclimate.corpus import collections
from acclimate.corpus.formats.trec import read_run
from acclimate.corpus.judged_queries import EQUAL_WEIGHT_COUNT
from acclimate.deploy.searchers import Searchers
from acclimate.measure.compare import ERROR_WITHOUT_LABELS, compare, verdict
from acclimate.measure.measures import MAIN, per_query
from acclimate.records import Qrel, Query, Retriever, ScoredDoc, SyntheticQuery
from acclimate.run.run import Run
from acclimate.search.bm25 import BM25
from acclimate.search.members import BM25Member
from acclimate.search.names import SystemName
from acclimate.search.neighbors import Neighbors
from acclimate.search.systems import of_documents, system_of
from acclimate.stages.runs import open_run
from acclimate.stages.steer import JudgedQuery, Steering, steer

ROOT = Path(__file__).parents[1]
SETTINGS = (
    "sample.n_docs=500",
    "sample.dev_share=0.3",
)  # as many queries to choose on as 1000 documents give by default
UNTOUCHED = ("bm25", "dense", "hybrid")
MOST_QUERIES = 200  # of the test split
DRAWS = 5  # random draws of a log, and of judged queries

Values = Mapping[str, NDArray[np.float64]]  # system -> (n_queries,) nDCG@10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--out", type=Path, default=ROOT / "belief-run")
    parser.add_argument("--log", type=int, default=50, help="queries of the log (default: 50)")
    parser.add_argument("--graded", type=int, default=20, help="queries that are judged (default: 20)")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.KEY=VALUE")
    arguments = parser.parse_args()
    rows: dict[str, dict[str, tuple[float, float, float]]] = {}
    agreements: list[bool] = []
    for collection in arguments.collections:
        name = Path(collection).name
        folder = arguments.out / name
        adapted(collection, folder, [*SETTINGS, *arguments.set])
        bench = Bench(folder)
        rows[name] = bench.measures(arguments.log, arguments.graded)
        by_people, without_labels = bench.verdicts()
        agreements.append(by_people == without_labels)
        print(f"{name}: {len(bench.systems)} systems, {len(bench.test)} queries, ", end="")
        print(f"verdict by judgments {by_people}, without {without_labels}", flush=True)
        (folder / "belief.json").write_text(json.dumps(rows[name], indent=1))
    print(table(rows))
    scores = np.array([of["steered"] for of in rows.values()])
    print(
        f"mean tau {scores[:, 0].mean():.3f} min tau {scores[:, 0].min():.3f} mean regret {scores[:, 1].mean():.4f} "
        f"verdicts agree {sum(agreements)} of {len(agreements)}"
    )


def adapted(collection: str, folder: Path, settings: Sequence[str]) -> None:
    """Adapt to a collection given its documents and test split only."""
    whole = collections.load(collection, folder / "whole")
    plain = folder / "collection"
    (plain / "qrels").mkdir(parents=True, exist_ok=True)
    with (plain / "corpus.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps({"_id": doc.doc_id, "title": doc.title, "text": doc.text}) + "\n"
            for doc in whole.corpus.values()
        )
    with (plain / "queries.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"_id": query.query_id, "text": query.text}) + "\n" for query in whole.queries)
    with (plain / "qrels" / "test.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["query-id", "corpus-id", "score"])
        writer.writerows([qrel.query_id, qrel.doc_id, qrel.relevance] for qrel in whole.qrels["test"])
    acclimate.adapt(plain, out=folder / "run", settings=settings)


@dataclass
class Bench:
    """A finished run with its systems and additional ones, on synthetic and on real queries."""

    folder: Path

    @cached_property
    def opened(self) -> tuple[Run, Any]:
        return open_run(self.folder / "run", "evaluate")

    @property
    def run(self) -> Run:
        return self.opened[0]

    @cached_property
    def systems(self) -> dict[str, Retriever]:
        """The run's systems, and further untrained ones."""
        run, outputs = self.opened
        searchers = Searchers(run, outputs)
        systems = {row["name"]: searchers.named(row["name"]) for row in outputs["evaluate"].measured["systems"]}
        texts = [doc.default_text() for doc in run.input.corpus.values()]
        others = {f"bm25 b={b}": BM25Member(BM25.build(texts, b=b)) for b in (0.1, 0.75)}
        members = {**run.base.members, **others}
        pairs = [("bm25", "dense"), ("bm25", "late-interaction"), ("dense", "late-interaction")]
        for weights in [{name: 1.0} for name in others] + [dict.fromkeys(pair, 0.5) for pair in pairs]:
            system = system_of(run.base.ids, members, weights)
            systems[" + ".join(weights)] = of_documents(system, run.base.ids)
        return systems

    @cached_property
    def test(self) -> list[Query]:
        """Real queries that have a relevant document."""
        judged = self.run.input.labels.measuring
        able = [query for query in judged.queries if any(grade > 0 for grade in judged.grades[query.query_id].values())]
        return draw.subset(able, MOST_QUERIES, 0)

    @cached_property
    def held_out(self) -> list[SyntheticQuery]:
        return self.opened[1]["filter"].sides(self.opened[1]["sample"])["dev"]

    @cached_property
    def hits(self) -> dict[str, list[ScoredDoc]]:
        """Hits of each system for all queries; for real queries they are read from the run."""
        held_out = [query.as_query() for query in self.held_out]
        query_ids = {query.query_id for query in self.test}
        hits: dict[str, list[ScoredDoc]] = {}
        for name, system in self.systems.items():
            path = self.folder / "run" / "evaluate" / "runs" / f"{SystemName(name).file_name}.trec"
            run = [hit for hit in read_run(path) if hit.query_id in query_ids] if path.exists() else []
            hits[name] = [*run, *system.search(held_out if run else [*self.test, *held_out], 10)]
        return hits

    def steered(self, log: Sequence[Query]) -> Steering:
        """The queries that choices would be made on with this log; all held-out queries also measure."""
        run, outputs = self.opened
        nearby = Neighbors(run.base.ids, run.input.corpus, run.base.bm25, run.base.vectors)
        with run.candidates(outputs["index"]) as kept:
            return steer(self.held_out, self.held_out, log, kept.candidates, nearby, **run.settings["steer"])

    def values(self, judged: Sequence[JudgedQuery]) -> Values:
        """nDCG@10 of each system, query by query."""
        qrels = [
            Qrel(query.query.query_id, doc_id, grade) for query in judged for doc_id, grade in query.grades.items()
        ]
        of = {name: per_query(hits, qrels, [MAIN])[MAIN] for name, hits in self.hits.items()}
        return {name: np.array([by_query[query.query.query_id] for query in judged]) for name, by_query in of.items()}

    @cached_property
    def by_people(self) -> Values:
        """nDCG@10 by the judgments."""
        grades = self.run.input.labels.measuring.grades
        return self.values([JudgedQuery(query, dict(grades[query.query_id])) for query in self.test])

    def measures(self, n_log: int, n_graded: int) -> dict[str, tuple[float, float, float]]:
        """Measure -> (tau, regret, correlation) against the judgments."""
        plain = self.steered([])
        sources = [
            JudgedQuery(query.as_query(), {self.run.input.parents.get(query.doc_id, query.doc_id): 1})
            for query in self.held_out
        ]
        real = means(self.by_people)
        steered = mean_of(self.values(plain.choosing), plain.choosing)
        rows = {
            "source alone": against(means(self.values(sources)), real),
            "neighbors": against(means(self.values(plain.measuring)), real),
            "steered": against(steered, real),
        }

        def drawn(n: int, measure: Callable[[NDArray[np.int64]], tuple[Any, Any]]) -> tuple[float, float, float]:
            order = [random.Random(seed).sample(range(len(self.test)), len(self.test)) for seed in range(DRAWS)]
            scores = [against(*measure(np.array(some[:n]))) for some in order]
            return tuple(np.mean(scores, axis=0))  # pyright: ignore[reportReturnType]

        def with_log(some: NDArray[np.int64]) -> tuple[Any, Any]:
            choosing = self.steered([self.test[place] for place in some]).choosing
            return mean_of(self.values(choosing), choosing), real

        def graded(share: float) -> Callable[[NDArray[np.int64]], tuple[Any, Any]]:
            def measure(some: NDArray[np.int64]) -> tuple[Any, Any]:
                rest = np.setdiff1d(np.arange(len(self.test)), some)
                judged = np.array([values[some].mean() for values in self.by_people.values()])
                left = np.array([values[rest].mean() for values in self.by_people.values()])
                return share * standardized(judged) + (1 - share) * standardized(steered), left

            return measure

        rows[f"{n_log} of a log"] = drawn(n_log, with_log)
        rows[f"{n_graded} judged alone"] = drawn(n_graded, graded(1.0))
        rows[f"{n_graded} judged, and steered"] = drawn(n_graded, graded(n_graded / (n_graded + EQUAL_WEIGHT_COUNT)))
        return rows

    def verdicts(self) -> tuple[str, str]:
        """(verdict by the judgments, verdict on the held-out queries)."""
        measured = self.opened[1]["evaluate"].measured
        values = self.values(self.steered([]).measuring)
        baseline = max(UNTOUCHED, key=lambda name: values[name].mean())
        ours, theirs = (dict(zip(map(str, range(len(values[name]))), values[name].tolist(), strict=True))
                        for name in (measured["candidate"], baseline))  # fmt: skip
        row = compare(ours, theirs, system=measured["candidate"], baseline=baseline, measure=MAIN)
        return measured["verdict"], verdict(row, min_difference=ERROR_WITHOUT_LABELS)


def means(values: Values) -> NDArray[np.float64]:
    return np.array([of.mean() for of in values.values()])


def mean_of(values: Values, judged: Sequence[JudgedQuery]) -> NDArray[np.float64]:
    """Mean weighted as the queries are."""
    weights = np.array([query.weight for query in judged])
    return np.array([of @ weights for of in values.values()]) / weights.sum()


def standardized(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return (values - values.mean()) / max(values.std(), 1e-9)


def against(measured: NDArray[np.float64], real: NDArray[np.float64]) -> tuple[float, float, float]:
    """Kendall's tau, regret and Pearson's correlation."""
    tau, correlation = (cast(Any, test(measured, real)).statistic for test in (kendalltau, pearsonr))
    return float(tau), float(real.max() - real[int(measured.argmax())]), float(correlation)


def table(rows: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> str:
    """Tau and regret by measure (rows) and collection (columns), then means with intervals of tau."""
    names = list(next(iter(rows.values())))
    lines = [
        "| | " + " | ".join([*rows, "tau (95 %)", "min tau", "regret", "r"]) + " |",
        "|---" * (len(rows) + 5) + "|",
    ]
    for name in names:
        scores = np.array([of[name] for of in rows.values()])
        low, high = bootstrapped(scores[:, 0])
        cells = [f"{tau:.2f} {regret:.3f}" for tau, regret, _ in scores]
        cells += [f"{scores[:, 0].mean():.2f} ({low:.2f} to {high:.2f})", f"{scores[:, 0].min():.2f}"]
        cells += [f"{scores[:, 1].mean():.3f}", f"{scores[:, 2].mean():.2f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bootstrapped(values: NDArray[np.float64]) -> tuple[float, float]:
    """95% interval of a mean over collections."""
    rng = np.random.default_rng(0)
    low, high = np.quantile(values[rng.integers(len(values), size=(10_000, len(values)))].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
