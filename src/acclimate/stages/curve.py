"""Learning curves: quality of rerankers by number of synthetic queries, and of students by number of labelled lists.

Each point trains on a part of what the run has, drawn by query id so that smaller parts are nested in larger ones, and
is measured on queries that are never trained on. A point is a stage of its own in DIR/curve, which keeps measurements,
not models; the run's own stages are only read.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from acclimate.base.digests import fingerprint
from acclimate.base.domains import AtLeast
from acclimate.base.errors import DataError
from acclimate.base.files import read_json, write_json
from acclimate.base.text import command
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.measure.compare import compare, interval
from acclimate.measure.measures import MAIN
from acclimate.records import Query, Retriever, ScoredDoc
from acclimate.run.output import Account, StageOutput
from acclimate.run.retrievers import SOURCES
from acclimate.run.run import Run
from acclimate.run.settings import Setting, check
from acclimate.run.workspace import Workspace
from acclimate.search import measuring
from acclimate.search.names import STUDENT_KINDS, SystemName
from acclimate.search.systems import of_documents
from acclimate.stages import distill, train
from acclimate.stages.chain import Outputs
from acclimate.stages.skipped import skipped

HELD_OUT, TEST = "held-out", "test"
FIRST = 100  # the smallest part, by default
_FEWEST = 3  # minimum number of points, by default
_COUNTS = Setting("numbers", tuple[int, ...], (), "", AtLeast(1))
_START = ":start"  # suffix for a system before training, where no point is untrained

Values = dict[str, dict[str, dict[str, float]]]  # set of queries -> system -> query_id -> nDCG@10


def learning_curves(
    run: Run, outputs: Outputs, *, queries: Sequence[int] | None = None, lists: Sequence[int] | None = None
) -> dict[str, Any]:
    """Both learning curves of a run whose lists are labelled: the content of `curve.json`.

    queries, lists: training sizes, point by point; None doubles up to all, () leaves the curve out. A number above the
    total stands for the total. Raises DataError for an unfinished run, and if nothing is held out.
    """
    for wanted in (queries, lists):
        points(0, wanted)  # refuse an invalid number before hours of training
    labeled, chosen_on = outputs.get("label"), run.input.labels.choosing.fingerprint
    if labeled and chosen_on != labeled.manifest["inputs"].get("dev", chosen_on):
        folder = run.workspace.folder
        raise DataError(
            f"the judged queries are not those of label; go on with: {command('label', folder)}", path=folder
        )
    curves = _Curves(run, outputs)
    if not curves.sets[HELD_OUT].queries:
        raise DataError("no held-out queries to measure on; sample more documents (sample.n_docs)")
    parts = [
        ("queries", curves.n_queries, queries, curves.rerankers),
        ("lists", curves.n_lists, lists, curves.students),
    ]
    sources = {name: judged.sources for name, judged in curves.sets.items()}
    rows: list[dict[str, Any]] = []
    for unit, total, wanted, measure in parts:
        counts = points(total, wanted) if total else []
        if counts:
            values = {count: curves.point(unit, count, measure) for count in (0, *counts)}
            rows += [_curve(unit, total, system, values, run.seed, sources) for system in _systems(values)]
    return {
        "measure": MAIN,
        "corpus": run.collection_name,
        "seed": run.seed,
        "sets": {
            name: {"name": curves.name_of(name), "queries": len(judged.queries), "synthetic": judged.is_synthetic}
            for name, judged in curves.sets.items()
        },
        "curves": rows,
    }


def last_stage(run: Run) -> str:
    """The last stage that curves read. Raises DataError for a run that trains nothing."""
    skips = skipped(run)
    for stage in ("label", "train"):
        if stage not in skips:
            return stage
    raise DataError(f"no curve to draw: {skips['train']}; {skips['label']}", path=run.workspace.folder)


def points(total: int, wanted: Sequence[int] | None) -> list[int]:
    """Training sizes, ascending, none above `total`. Raises SettingError for a number below 1."""
    if wanted is None:
        doubled = [FIRST << power for power in range(40) if FIRST << power < total]
        few = [total // 4, total // 2]
        return sorted({count for count in (doubled if len(doubled) + 1 >= _FEWEST else few) if count} | {total})
    counts: tuple[int, ...] = check(wanted, _COUNTS, "a number of a curve")
    return sorted({min(count, total) for count in counts})


@dataclass
class _Curves:
    """Makes and measures the points of a run's curves."""

    run: Run
    outputs: Outputs

    @cached_property
    def workspace(self) -> Workspace:
        return Workspace(self.run.workspace.folder / "curve")

    @cached_property
    def sets(self) -> dict[str, JudgedQueries]:
        """The sets of queries to measure on: the held-out ones, and the test queries, which chose nothing."""
        sets = {HELD_OUT: self.outputs["steer"].choosing(self.run, self.outputs["sample"])}
        asked = measuring.draw_queries(self.test.queries, self.run.settings["evaluate"]["max_queries"], self.run.seed)
        return {**sets, TEST: self.test.restricted_to(asked)} if asked else sets

    @cached_property
    def test(self) -> JudgedQueries:
        return self.outputs["steer"].measuring(self.run, self.outputs["sample"])

    def name_of(self, name: str) -> str:
        """Description of a set of queries: `300 test queries of 5,000`."""
        total = len(self.test.queries)
        is_part = name == TEST and len(self.sets[name].queries) < total
        return f"{self.sets[name]} of {total:,}" if is_part else str(self.sets[name])

    @cached_property
    def n_queries(self) -> int:
        """Number of examples that rerankers could be trained on."""
        queries = self.outputs["filter"].sides(self.outputs["sample"])
        is_trained = "train" in self.outputs and self.run.provided.reranker is None
        mined = self.outputs.get("mine") if is_trained else None
        return len(mined.sides(queries)["train"]) if mined else 0

    @cached_property
    def n_lists(self) -> int:
        """Number of lists that students could be trained on; the same for each teacher in turn."""
        labeled = self.outputs.get("label")
        return len(labeled.turns[0][0]) if labeled else 0

    def point(self, unit: str, count: int, measure: Callable[[int, Path], dict[str, Retriever]]) -> Values:
        """Measurements after training on `count`, from the point's folder if it exists. 0: untrained."""
        stage = {"queries": "train", "lists": "distill"}[unit]

        def work(folder: Path, progress: Callable[[int, int], None]) -> Account:
            retrievers = measure(count, folder / "made")
            values = {
                name: {system: measuring.ndcg(retriever, judged) for system, retriever in retrievers.items()}
                for name, judged in self.sets.items()
            }
            write_json(folder / "measured.json", values)
            shutil.rmtree(folder / "made", ignore_errors=True)
            return Account(count, count)

        run = self.run
        outputs = cast(dict[str, StageOutput], self.outputs)
        inputs = {name: output.fingerprint for name, output in outputs.items() if unit == "lists" or name != "label"}
        inputs |= {name: judged.fingerprint for name, judged in self.sets.items()}
        inputs |= {"documents": run.input.corpus.fingerprint, "base": run.base.fingerprint}
        inputs |= {"depth": str(run.settings["evaluate"]["rerank_depth"])} if unit == "queries" else {}
        settings = {**run.settings[stage], "max_queries": count}
        name = f"{unit}-{count}"
        self.workspace.make(name, work, settings=settings, inputs=inputs, seed=run.seed, unit=unit)
        return read_json(self.workspace.folder / name / "measured.json")

    def rerankers(self, count: int, folder: Path) -> dict[str, Retriever]:
        """The rerankers alone, over the best documents of an untrained fusion; 0: that fusion itself."""
        ids, depth = self.run.base.ids, self.run.settings["evaluate"]["rerank_depth"]
        if not count:
            return {"reranker": of_documents(self.first_stage, ids)}
        from acclimate.search.reranked import Reranked

        variant = self.run.variant(folder, {"train": {"max_queries": count}})
        earlier, mined = self.outputs, self.outputs.get("mine")
        assert mined  # train is made from it
        scorer = train.make(variant, earlier["sample"], earlier["filter"], mined).reranker(variant)
        return {"reranker": of_documents(Reranked(self.first_stage, scorer, depth), ids)}

    @cached_property
    def first_stage(self) -> CachedRetriever:
        """An untrained fusion that caches its results for all points."""
        from acclimate.search.system import System

        weights: dict[str, float] = dict.fromkeys(self.run.base.names, 1 / len(self.run.base.names))
        queries = [query for judged in self.sets.values() for query in judged.queries]
        return CachedRetriever.of(System(self.run.base.ids, self.run.base.members, SOURCES, weights), queries)

    def students(self, count: int, folder: Path) -> dict[str, Retriever]:
        """Each student with its own index; 0: its starting point."""
        run = self.run
        if not count:
            kinds = [STUDENT_KINDS[name] for name in run.settings["distill"]["student"]]
            return {
                kind: measuring.member_alone(run.base.ids, run.base.members, kind)
                for kind in kinds
                if kind in run.base.members
            }
        variant = run.variant(folder, {"distill": {"max_queries": count, "tune": ()}})
        earlier = self.outputs
        distilled = distill.make(
            variant,
            earlier["index"],
            earlier["sample"],
            earlier["filter"],
            earlier["steer"],
            earlier.get("label"),
            earlier.get("mine"),
        )
        members = run.base.members | distilled.members(variant)
        students = {
            kind: measuring.member_alone(run.base.ids, members, SystemName(kind).adapted()) for kind in distilled.notes
        }
        # If the base is of another kind, the student's starting point exists only once it is trained.
        starts = [kind for kind in distilled.notes if kind in members and kind not in run.base.members]
        return students | {f"{kind}{_START}": measuring.member_alone(run.base.ids, members, kind) for kind in starts}


@dataclass(frozen=True)
class CachedRetriever:
    """A retriever with precomputed results."""

    hits: Mapping[str, Sequence[ScoredDoc]]
    fingerprint: str

    @classmethod
    def of(cls, retriever: Retriever, queries: Sequence[Query], *, depth: int = 100) -> CachedRetriever:
        by_query = groupby(retriever.search(queries, depth), key=lambda hit: hit.query_id)
        return cls({query_id: list(hits) for query_id, hits in by_query}, fingerprint(retriever.fingerprint, depth))

    def search(self, queries: Sequence[Query], k: int) -> list[ScoredDoc]:
        """At most `k` docs per query, best first."""
        return [hit for query in queries for hit in self.hits.get(query.query_id, ())[:k]]


def _systems(values: Mapping[int, Values]) -> list[str]:
    """The systems of a curve, in the order in which they were trained."""
    trained = (system for count, of in values.items() if count for system in of[HELD_OUT])
    return [system for system in dict.fromkeys(trained) if not system.endswith(_START)]


def _curve(
    unit: str,
    total: int,
    system: str,
    values: Mapping[int, Values],
    seed: int,
    sources: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """A system's row of `curve.json`. sources: of each set of queries; see `compare`."""

    def shown(count: int, of: Values, system: str) -> dict[str, Any]:
        return {
            unit: count,
            **{
                name: {
                    "nDCG@10": round(measuring.mean(systems[system]), 5),
                    "interval": [round(end, 5) for end in interval(systems[system], seed=seed, sources=sources[name])],
                }
                for name, systems in of.items()
            },
        }

    trained = sorted(count for count in values if count)
    places = [(values[0], system), (values[trained[0]], f"{system}{_START}")]
    start = next(((of, name) for of, name in places if name in of[HELD_OUT]), None)
    last = None
    # The held-out queries chose epochs and weights, so they cannot confirm a gain.
    if len(trained) > 1 and TEST in values[0]:
        fewer, more = trained[-2:]
        ours, theirs = (values[count][TEST][system] for count in (more, fewer))
        step = compare(
            ours, theirs, system=str(more), baseline=str(fewer), measure=MAIN, seed=seed, sources=sources[TEST]
        )
        last = {
            "from": fewer,
            "to": more,
            "on": TEST,
            "delta": round(step.delta, 5),
            "ci95": [round(end, 5) for end in step.ci95],
            "p": round(step.p, 5),
        }
    return {
        "unit": unit,
        "system": system,
        "all": total,
        "untrained": shown(0, *start) if start else None,
        "points": [shown(count, values[count], system) for count in trained],
        "last": last,
    }
