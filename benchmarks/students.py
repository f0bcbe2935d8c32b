"""The table of students in docs/results.md: every kind of student, trained in several ways, on several collections.

    python benchmarks/students.py RUN ... --kinds dense-query,sparse --seeds 0,1,2
    python benchmarks/students.py RUN ... --arms contrastive,mixed --queries 200 --test-queries 100
    python benchmarks/students.py --write                     the table, from the rows that there are

Each RUN is a folder whose stages up to `mine` are made (`acclimate mine RUN --corpus CORPUS`); it is read, never
written. A row is one collection, seed, way of teaching (an arm) and kind of student, in a file of its own, so the table
can be filled in any order, and by several processes that work on different seeds or collections. Rerankers and labels
are made once for all rows whose settings agree. Test queries are asked one at a time, each student's right after its
own base's.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results_page import write_section
from students_table import BASE, RERANKED, tables

from acclimate.base.digests import fingerprint
from acclimate.base.errors import unknown
from acclimate.base.files import read_json, write_json
from acclimate.measure.measures import MAIN
from acclimate.run.retrievers import BASE_MEMBERS
from acclimate.run.run import Run
from acclimate.run.settings import resolve
from acclimate.search import systems
from acclimate.search.choice import choose_reranker_weight
from acclimate.search.names import STUDENT_KINDS, SystemName
from acclimate.stages import distill, label, train
from acclimate.stages.chain import STAGES
from acclimate.stages.evaluate import Evaluation, evaluate
from acclimate.stages.label import Labeled
from acclimate.stages.runs import read_outputs, resume_run
from acclimate.stages.train import Trained

ROOT = Path(__file__).parents[1]
RERANKING = ("one", "ensemble")  # arms whose reranked hybrid is measured; the others have the same rerankers
# Ways to train a student: settings on top of the run's own.
ARMS: dict[str, list[str]] = {
    "contrastive": ["distill.contrastive=1", "label.teachers=bm25,dense,late-interaction"],
    "fusion": ["label.teachers=bm25,dense,late-interaction"],
    "one": ["label.teachers=reranker"],
    "ensemble": ["train.rerankers=prompt", "label.teachers=reranker", "label.weights=equal"],
    "mixed": ["train.rerankers=prompt", "label.teachers=bm25,dense,late-interaction,reranker"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs, made up to mine")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-run" / "students")
    parser.add_argument("--arms", default=",".join(ARMS), help=f"of {', '.join(ARMS)}")
    parser.add_argument("--kinds", default="dense-query,late-interaction-query", help=f"of {', '.join(STUDENT_KINDS)}")
    parser.add_argument("--seeds", default="0,1,2", help="of rerankers and students; documents and queries stay")
    parser.add_argument("--queries", type=int, default=0, help="synthetic queries to train on, at most; 0: all")
    parser.add_argument("--test-queries", type=int, default=1000, help="test queries to ask, at most")
    parser.add_argument("--reranked", action="store_true", help="measure the reranked hybrid of each arm as well")
    parser.add_argument("--keep", action="store_true", help="keep the students' models")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.SETTING=VALUE", help="for every arm")
    parser.add_argument("--write", action="store_true", help="write the table to docs/results.md")
    arguments = parser.parse_args()
    arms, kinds = _names(arguments.arms, ARMS, "arm"), _names(arguments.kinds, STUDENT_KINDS, "student")
    changes = [*arguments.set, f"evaluate.max_queries={arguments.test_queries}"]
    if arguments.queries:
        changes += [f"train.max_queries={arguments.queries}", f"distill.max_queries={arguments.queries}"]
    for folder in arguments.runs:
        for seed in map(int, arguments.seeds.split(",")):
            for arm in arms:
                bench = Bench(folder, arguments.out, arm, seed, changes, keep=arguments.keep)
                for kind in kinds:
                    bench.student(kind)
                if arguments.reranked and arm in RERANKING:
                    bench.reranked()
    text = tables(list(rows(arguments.out)))
    print(text)
    if arguments.write:
        write_section("students", text)


def _names(text: str, known: Mapping[str, Any], what: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise unknown(what, name, known)
    return names


class Bench:
    """One collection, seed and arm: its shared stages, and a row for each student."""

    def __init__(
        self, source: Path, out: Path, arm: str, seed: int, changes: Sequence[str], *, keep: bool = False
    ) -> None:
        self.out, self.arm, self.seed, self.keep = out, arm, seed, keep
        self.run = resume_run(source)
        self.collection = Path(self.run.collection_name).name
        self.settings = resolve(STAGES, self.run.settings, [*ARMS[arm], *changes])
        self.outputs = read_outputs(self.run, "mine")
        self.folder = out / self.collection / f"seed-{seed}"

    def student(self, name: str) -> None:
        """Compute the rows of one kind of student and of its untouched start, unless they exist."""
        row = self._row(f"{self.seed}-{self.arm}", name)
        if row.exists():
            return
        trained, labeled = self._shared()
        place = self.folder / f"distill-{self.arm}-{name}-{self._key('train', 'label', 'distill')}"
        variant = self._variant(place, "train", "label", "distill", "evaluate", student=(name,))
        indexed, sampled, filtered = self.outputs["index"], self.outputs["sample"], self.outputs["filter"]
        distilled = distill.make(variant, indexed, sampled, filtered, self.outputs["steer"], labeled, None)
        kind = STUDENT_KINDS[name]
        adapted = SystemName(kind).adapted()
        members = {**variant.base.members, **distilled.members(variant)}
        start = kind if kind in members else "dense"  # a baseline is required
        weights = {system: {system: 1.0} for system in (start, adapted)}
        chosen = systems.Chosen(weights, {}, adapted, {})
        sizes = {system: variant.base.index_bytes(member) for system, member in members.items()}
        contenders = systems.contenders(variant.base.ids, members, chosen, {}, sizes, rerank_depth=0)
        result = self._measured(variant, contenders, adapted, place)
        if kind == start and not self._row(BASE, name).exists():
            self._write(self._row(BASE, name), name, result, kind, arm=BASE, seed=None)
        self._write(
            row,
            name,
            result,
            adapted,
            training_seconds={output.name: output.manifest["seconds"] for output in (trained, labeled, distilled)},
            queries=distilled.manifest["out"],
            dev_loss=distilled.notes[kind].get("dev_loss"),
            teachers=labeled.teachers,
            chosen_on=labeled.notes["chosen_on"],
        )
        if not self.keep:
            shutil.rmtree(place)

    def reranked(self) -> None:
        """Compute the row of the reranked hybrid: an equal-weights fusion and the arm's rerankers, whose weights are
        chosen on held-out queries."""
        row = self._row(f"{self.seed}-{self.arm}", RERANKED)
        if row.exists():
            return
        trained, _ = self._shared()
        variant = self._variant(self.folder / "evaluate", "train", "label", "evaluate")
        equal: dict[str, float] = dict.fromkeys(BASE_MEMBERS, round(1 / len(BASE_MEMBERS), 4))
        reranker, depth = trained.reranker(variant), self.settings["evaluate"]["rerank_depth"]
        first = systems.system_of(variant.base.ids, variant.base.members, equal)
        weighed = choose_reranker_weight(
            first, reranker, self.outputs["steer"].choosing(variant, self.outputs["sample"]), depth
        )
        name = systems.EQUAL.reranked()
        weights: dict[str, float] = {systems.EQUAL: weighed.weights[systems.RERANKER]}
        chosen = systems.Chosen({systems.EQUAL: equal}, weights, name, {})
        sizes = {system: variant.base.index_bytes(member) for system, member in variant.base.members.items()}
        contenders = systems.contenders(
            variant.base.ids,
            variant.base.members,
            chosen,
            {systems.RERANKER: reranker},
            sizes,
            rerank_depth=depth,
        )
        result = self._measured(variant, contenders, name, self.folder / "evaluate")
        self._write(row, RERANKED, result, name, training_seconds={"train": trained.manifest["seconds"]})
        shutil.rmtree(self.folder / "evaluate")

    def _shared(self) -> tuple[Trained, Labeled]:
        """The arm's rerankers and labels, shared with all rows that need the same."""
        indexed, sampled, filtered = self.outputs["index"], self.outputs["sample"], self.outputs["filter"]
        mined = self.outputs.get("mine")
        assert mined  # by `read_outputs`
        with self._shared_variant("train") as variant:
            trained = train.make(variant, sampled, filtered, mined)
        with self._shared_variant("train", "label") as variant:
            return trained, label.make(variant, indexed, sampled, filtered, self.outputs["steer"], trained)

    @contextmanager
    def _shared_variant(self, *stages: str) -> Iterator[Run]:
        variant = self._variant(self.folder / f"{stages[-1]}-{self._key(*stages)}", *stages)
        with variant.workspace.lock():
            self._share_scores(variant.workspace.folder)
            yield variant

    def _share_scores(self, folder: Path) -> None:
        """Share the cache of pair scores among all arms and seeds."""
        kept, link = self.out / self.collection / "scores.sqlite", folder / "scores.sqlite"
        if not link.exists():
            kept.touch()
            link.symlink_to(kept.resolve())

    def _variant(self, folder: Path, *stages: str, **distill: Any) -> Run:
        """A copy of the run in its own folder, with the arm's settings of these stages and this row's seed."""
        changes = {
            stage: {key: value for key, value in self.settings[stage].items() if (stage, key) != ("distill", "base")}
            for stage in stages
        }
        if distill:
            changes["distill"] |= distill
        return self.run.variant(folder, changes, seed=self.seed)

    def _key(self, *stages: str) -> str:
        return fingerprint({stage: self.settings[stage] for stage in stages})[:10]

    def _measured(self, run: Run, contenders: Sequence[Any], candidate: str, folder: Path) -> Evaluation:
        judged = self.outputs["steer"].measuring(run, self.outputs["sample"])
        settings = {key: self.settings["evaluate"][key] for key in ("k", "max_queries")}
        return evaluate(contenders, judged, candidate, folder / "evaluate", seed=0, **settings)

    def _row(self, what: str, name: str) -> Path:
        return self.out / "rows" / f"{self.collection}-{what}-{name}.json"

    def _write(self, path: Path, kind: str, result: Evaluation, system: str, **more: Any) -> None:
        measured = next(row for row in result.systems if row["name"] == system)
        row = {
            "collection": self.collection,
            "seed": self.seed,
            "arm": self.arm,
            "kind": kind,
            "settings": ARMS[self.arm],
            "per_query": result.per_query[system][MAIN],
        }
        write_json(path, {**measured, **row, **more})


def rows(out: Path) -> Iterator[dict[str, Any]]:
    """All existing rows."""
    for path in sorted((out / "rows").glob("*.json")):
        yield read_json(path)


if __name__ == "__main__":
    main()
