"""The table of students in docs/results.md: every kind of student, taught in several ways, on several collections.

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
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from acclimate.base.errors import AcclimateError, unknown
from acclimate.base.files import fingerprint, read_json, write_json
from acclimate.base.progress import Progress
from acclimate.measure.compare import compare, interval
from acclimate.measure.measures import MAIN
from acclimate.run.run import BASE_MEMBERS, Run
from acclimate.run.settings import resolve
from acclimate.search import systems
from acclimate.search.choice import weigh_reranker
from acclimate.search.names import STUDENT_KINDS, SystemName
from acclimate.stages import distill, label, train
from acclimate.stages.chain import STAGES, finished
from acclimate.stages.evaluate import Evaluation, evaluate
from acclimate.stages.label import Labeled
from acclimate.stages.runs import stored
from acclimate.stages.train import Trained

ROOT = Path(__file__).parents[1]
START, END = "<!-- students: begin -->", "<!-- students: end -->"
BASE, RERANKED = "base", "reranked"
RERANKING = ("one", "ensemble")  # arms whose reranked hybrid is measured; other arms have the same rerankers

# How a student is taught: settings on top of the run's own.
ARMS: dict[str, list[str]] = {
    "contrastive": ["distill.contrastive=1", "label.teachers=bm25,dense,late-interaction"],
    "fusion": ["label.teachers=bm25,dense,late-interaction"],
    "one": ["label.teachers=reranker"],
    "ensemble": ["train.rerankers=prompt", "label.teachers=reranker", "label.weights=equal"],
    "mixed": ["train.rerankers=prompt", "label.teachers=bm25,dense,late-interaction,reranker"],
}
TITLES = {
    BASE: "untouched",
    "contrastive": "contrastive",
    "fusion": "BM25, dense, late int.",
    "one": "(a) one reranker",
    "ensemble": "(b) a reranker per prompt",
    "mixed": "(c) those, BM25, dense, late int.",
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
        page = ROOT / "docs" / "results.md"
        before, start, rest = page.read_text(encoding="utf-8").partition(START)
        if not start:
            raise AcclimateError(f"{page} has no place for the table; add the lines {START} and {END}")
        page.write_text(f"{before}{START}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


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
        self.run = stored(source)
        self.collection = Path(self.run.collection_name).name
        self.settings = resolve(STAGES, self.run.settings, [*ARMS[arm], *changes])
        self.outputs = finished(self.run, "mine")
        self.folder = out / self.collection / f"seed-{seed}"

    def student(self, name: str) -> None:
        """The row of one kind of student, and that of its untouched start, as far as they are not there."""
        row = self._row(f"{self.seed}-{self.arm}", name)
        if row.exists():
            return
        trained, labeled = self._shared()
        place = self.folder / f"distill-{self.arm}-{name}-{self._key('train', 'label', 'distill')}"
        variant = self._variant(place, "train", "label", "distill", "evaluate", student=(name,))
        indexed, sampled, filtered = self.outputs["index"], self.outputs["sample"], self.outputs["filter"]
        distilled = distill.make(variant, indexed, sampled, filtered, labeled)
        kind = STUDENT_KINDS[name]
        adapted = SystemName(kind).adapted()
        members = {**variant.members, **distilled.members(variant)}
        start = kind if kind in members else "dense"  # something has to be the baseline
        weights = {one: {one: 1.0} for one in (start, adapted)}
        chosen = systems.Chosen(weights, {}, adapted, {})
        sizes = {one: variant.index_bytes(member) for one, member in members.items()}
        contenders = systems.contenders(variant.ids, members, chosen, None, sizes, rerank_depth=0)
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
        """The row of the reranked hybrid: the arm's rerankers behind an equal fusion, weighed on held-out queries."""
        row = self._row(f"{self.seed}-{self.arm}", RERANKED)
        if row.exists():
            return
        trained, _ = self._shared()
        variant = self._variant(self.folder / "evaluate", "train", "label", "evaluate")
        equal: dict[str, float] = dict.fromkeys(BASE_MEMBERS, round(1 / len(BASE_MEMBERS), 4))
        reranker, depth = trained.reranker(variant), self.settings["evaluate"]["rerank_depth"]
        first = systems.system_of(variant.ids, variant.members, equal)
        weighed = weigh_reranker(
            first, reranker, self.outputs["filter"].held_out(variant, self.outputs["sample"]), depth
        )
        name = systems.HYBRID.reranked()
        weights = {systems.HYBRID: weighed.weights[systems.RERANKER]}
        chosen = systems.Chosen({systems.HYBRID: equal}, weights, name, {})
        sizes = {one: variant.index_bytes(member) for one, member in variant.members.items()}
        contenders = systems.contenders(
            variant.ids,
            variant.members,
            chosen,
            reranker,
            sizes,
            rerank_depth=depth,
        )
        result = self._measured(variant, contenders, name, self.folder / "evaluate")
        self._write(row, RERANKED, result, name, training_seconds={"train": trained.manifest["seconds"]})
        shutil.rmtree(self.folder / "evaluate")

    def _shared(self) -> tuple[Trained, Labeled]:
        """The arm's rerankers and labels, made where no row before needed the same."""
        indexed, sampled, filtered = self.outputs["index"], self.outputs["sample"], self.outputs["filter"]
        with self._shared_variant("train") as variant:
            trained = train.make(variant, sampled, filtered, self.outputs["mine"])
        with self._shared_variant("train", "label") as variant:
            return trained, label.make(variant, indexed, sampled, filtered, trained)

    @contextmanager
    def _shared_variant(self, *stages: str) -> Iterator[Run]:
        variant = self._variant(self.folder / f"{stages[-1]}-{self._key(*stages)}", *stages)
        with variant.workspace.lock():
            self._share_scores(variant.workspace.folder)
            yield variant

    def _share_scores(self, folder: Path) -> None:
        """What scorers said of pairs is kept once for all arms and seeds."""
        kept, link = self.out / self.collection / "scores.sqlite", folder / "scores.sqlite"
        if not link.exists():
            kept.touch()
            link.symlink_to(kept.resolve())

    def _variant(self, folder: Path, *stages: str, **distill: Any) -> Run:
        """The run with the arm's settings of these stages, in a folder of its own, on this row's seed."""
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
        judged = self.outputs["filter"].test(run, self.outputs["sample"])
        settings = {key: self.settings["evaluate"][key] for key in ("k", "max_queries")}
        progress = Progress("evaluate", "searches")
        result = evaluate(
            contenders,
            judged.queries,
            judged.qrels,
            candidate,
            folder / "evaluate",
            seed=0,
            progress=progress,
            **settings,
        )
        progress.end()
        return result

    def _row(self, what: str, name: str) -> Path:
        return self.out / "rows" / f"{self.collection}-{what}-{name}.json"

    def _write(self, path: Path, kind: str, result: Evaluation, system: str, **more: Any) -> None:
        measured = next(one for one in result.systems if one["name"] == system)
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
    """Every row that is there."""
    for path in sorted((out / "rows").glob("*.json")):
        yield read_json(path)


# The table


def tables(found: Sequence[dict[str, Any]]) -> str:
    """nDCG@10, differences to the own base, what it takes, and the teachers; collections in columns."""
    if not found:
        return "(no rows yet)"
    collections = sorted({row["collection"] for row in found})
    kinds = sorted({row["kind"] for row in found}, key=lambda kind: (kind == RERANKED, kind))
    arms = [arm for arm in (BASE, *ARMS) if any(row["arm"] == arm for row in found)]
    groups = [(kind, arm) for kind in kinds for arm in arms if _of(found, kind, arm)]
    seeds = sorted({row["seed"] for row in found if row["seed"] is not None})
    parts = [
        f"**nDCG@10**, mean over those of seeds {', '.join(map(str, seeds))} that there are (95 % bootstrap interval "
        "over queries)",
        _markdown(
            ["student", "taught by", *collections, "mean"],
            [[kind, TITLES[arm], *_scores(found, kind, arm, collections)] for kind, arm in groups],
        ),
        "**Difference to its own base**, ± standard deviation over seeds (how many there are; * p < .05, paired "
        "randomization test over queries on seeds' means)",
        _markdown(
            ["student", "taught by", *collections, "mean"],
            [
                [kind, TITLES[arm], *_differences(found, kind, arm, collections)]
                for kind, arm in groups
                if arm != BASE and kind != RERANKED
            ],
        ),
        "**What it takes**: milliseconds per query (median / 95th percentile), size of the index, seconds of training "
        "the student (rerankers and labels, shared by rows, not counted), means over collections and seeds; share "
        "of the reranked hybrid's nDCG@10 and of its time",
        _markdown(
            ["student", "taught by", "ms, p50 / p95", "index, MB", "training, s", "of the best reranked hybrid"],
            [[kind, TITLES[arm], *_costs(_of(found, kind, arm), found)] for kind, arm in groups],
        ),
    ]
    taught = {(row["arm"], row["collection"], row["seed"]): row for row in found if row.get("teachers")}
    if taught:
        parts += [
            "**Teachers**, nDCG@10 on held-out queries, mean over seeds (weight)",
            _markdown(
                ["taught by", "teacher", *collections],
                [row for arm in arms for row in _teachers(list(taught.values()), arm, collections)],
            ),
        ]
    return "\n\n".join(parts)


def _of(found: Sequence[dict[str, Any]], kind: str, arm: str, collection: str = "") -> list[dict[str, Any]]:
    return [
        row
        for row in found
        if row["kind"] == kind and row["arm"] == arm and (not collection or row["collection"] == collection)
    ]


def averaged(found: Sequence[dict[str, Any]]) -> dict[str, float]:
    """query_id -> nDCG@10, mean over the rows, which differ in their seeds; of the queries that all of them asked."""
    asked = set.intersection(*(set(row["per_query"]) for row in found))
    return {query: sum(row["per_query"][query] for row in found) / len(found) for query in sorted(asked)}


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)


def _scores(found: Sequence[dict[str, Any]], kind: str, arm: str, collections: Sequence[str]) -> Iterator[str]:
    means: list[float] = []
    for collection in collections:
        own = _of(found, kind, arm, collection)
        if not own:
            yield ""
            continue
        values = averaged(own)
        low, high = interval(values)
        means.append(_mean(values))
        yield f"{_number(means[-1])} ({_number(low)}–{_number(high)})"
    yield _number(sum(means) / len(means)) if len(means) == len(collections) else ""


def _differences(found: Sequence[dict[str, Any]], kind: str, arm: str, collections: Sequence[str]) -> Iterator[str]:
    deltas: list[float] = []
    for collection in collections:
        own, base = _of(found, kind, arm, collection), _of(found, kind, BASE, collection)
        if not own or not base:
            yield ""
            continue
        ours, theirs = averaged(own), averaged(base)
        shared = ours.keys() & theirs.keys()
        one = compare(
            {query: ours[query] for query in shared},
            {query: theirs[query] for query in shared},
            system=arm,
            baseline=BASE,
            measure=MAIN,
        )
        deltas.append(one.delta)
        by_seed = [_mean(row["per_query"]) for row in own]
        spread = f" ±{_number(_deviation(by_seed))}" if len(by_seed) > 1 else ""
        yield f"{one.delta:+.3f}" + ("*" if one.p < 0.05 else "") + f"{spread} ({len(by_seed)})"
    yield f"{sum(deltas) / len(deltas):+.3f}" if len(deltas) == len(collections) else ""


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5


def _costs(own: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> list[str]:
    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    p50, p95 = (mean([row["latency_ms"][key] for row in own]) for key in ("p50", "p95"))
    seconds = [row["training_seconds"]["distill"] for row in own if "distill" in row.get("training_seconds", {})]
    size = mean([row["index_bytes"] / 1e6 for row in own])
    took = f"{mean(seconds):.0f}" if seconds else ""
    return [f"{p50:.1f} / {p95:.1f}", f"{size:.1f}", took, _of_reranked(own, found)]


def _of_reranked(own: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> str:
    """`97% in 1/12`: of the nDCG@10 and time of the best reranked hybrid of the same collection, geometric means."""
    shares: list[tuple[float, float]] = []
    for row in own:
        others = [one for one in found if one["kind"] == RERANKED and one["collection"] == row["collection"]]
        others = [one for one in others if row["seed"] in (None, one["seed"])]
        if others and row["kind"] != RERANKED:
            best = max(others, key=lambda one: _mean(one["per_query"]))
            parts = _mean(row["per_query"]) / _mean(best["per_query"]), row["latency_ms"]["p50"]
            shares.append((parts[0], parts[1] / best["latency_ms"]["p50"]))
    if not shares:
        return ""
    score, time = (
        math.exp(sum(math.log(max(value, 1e-9)) for value in values) / len(shares))
        for values in zip(*shares, strict=True)
    )
    return f"{score:.0%} in " + (f"1/{1 / time:.{0 if time < 0.1 else 1}f}" if time < 1 else f"{time:.1f}")


def _teachers(found: Sequence[dict[str, Any]], arm: str, collections: Sequence[str]) -> list[list[str]]:
    own = [row for row in found if row["arm"] == arm]
    names = dict.fromkeys(one["name"] for row in own for one in row["teachers"])
    cells: list[list[str]] = []
    for name in names:
        line = [TITLES[arm], name]
        for collection in collections:
            said = [one for row in own if row["collection"] == collection for one in row["teachers"]]
            said = [one for one in said if one["name"] == name]
            weight = sum(one["weight"] or 0.0 for one in said) / len(said) if said else 0.0
            score = sum(one[MAIN] for one in said) / len(said) if said else 0.0
            line.append(f"{_number(score)} ({weight:.2f})" if said else "")
        cells.append(line)
    return cells


def _number(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _markdown(header: list[str], lines: Sequence[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines])


if __name__ == "__main__":
    main()
