"""Profile of the quick recipe: the time of each stage, and the time its arithmetic alone would take.

    python benchmarks/stage_profile.py                           60 documents of pydocs are written queries for
    python benchmarks/stage_profile.py DATA/scifact --docs 200 --set distill.student=dense

Two runs are made of the same settings: one is timed, in the other operations are counted, which slows it down. `make
bench` and benchmarks/gpu.py put the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from operations import Ceilings, Counting, ceilings, clock, synchronized
from results_page import table

from acclimate.base import models
from acclimate.run.recipes import load_recipe
from acclimate.run.run import Run
from acclimate.run.settings import resolve
from acclimate.stages.chain import STAGES, adapt
from acclimate.stages.runs import new_run
from acclimate.stages.skipped import skipped

HEADER = ["stage", "units", "seconds", "units/s", "TFLOP", "GB", "floor, s", "of the floor", "peak MB"]
UNITS = {
    "index": "documents", "sample": "documents", "generate": "queries", "filter": "queries", "steer": "queries",
    "mine": "queries", "train": "queries", "label": "queries", "distill": "queries", "evaluate": "searches",
}  # fmt: skip


class Work(NamedTuple):
    """Cost of a stage."""

    stage: str
    units: int
    seconds: float  # of the processor where that computes, else on the wall
    flop: float
    bytes: float
    peak: int  # bytes of the GPU's memory; 0 on a CPU

    def row(self, limits: Ceilings) -> list[str]:
        floor = max(self.flop / limits.flop, self.bytes / limits.bytes)
        return [
            self.stage,
            f"{self.units:,} {UNITS[self.stage]}",
            f"{self.seconds:.1f}",
            f"{self.units / self.seconds:,.1f}" if self.seconds else "",
            f"{self.flop / 1e12:.2f}",
            f"{self.bytes / 1e9:.1f}",
            f"{floor:.1f}",
            f"{floor / self.seconds:.0%}" if self.seconds else "",
            f"{self.peak / 2**20:,.0f}" if self.peak else "",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", nargs="?", default="pydocs")
    parser.add_argument("--docs", type=int, default=60, help="documents that queries are written for (default 60)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "bench-run")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.KEY=VALUE")
    parser.add_argument("--timed-only", action="store_true", help="one run, and a line of JSON for each stage")
    given = parser.parse_args()
    if given.timed_only:
        settings = [f"sample.n_docs={given.docs}", *given.set]
        for work in stages_of(given.out / "profile", given.collection, settings, nullcontext):
            print(json.dumps(work._asdict()), flush=True)
    else:
        print(profile(given.collection, given.docs, given.out, given.set))


def profile(collection: str, n_docs: int, out: Path, changes: Sequence[str] = ()) -> str:
    """The table in Markdown, with the measured peak rates."""
    settings = [f"sample.n_docs={n_docs}", *changes]
    limits = ceilings()
    timed = list(stages_of(out / "profile", collection, settings, nullcontext))
    counted = {work.stage: work for work in stages_of(out / "profile-counted", collection, settings, Counting)}
    rows = [work._replace(flop=counted[work.stage].flop, bytes=counted[work.stage].bytes).row(limits) for work in timed]
    total = sum(work.seconds for work in timed)
    about = (
        f"{models.device()}, {models.dtype_name()}, {torch.get_num_threads()} threads. Measured: "
        f"{limits.flop / 1e9:,.0f} GFLOP/s ({limits.float32_flop / 1e9:,.0f} in float32), "
        f"{limits.bytes / 1e9:,.0f} GB/s. All stages: {total:.1f} s; evaluate "
        f"{sum(work.seconds for work in timed if work.stage == 'evaluate') / total:.0%} of it."
    )
    n_columns = len(HEADER) - (not any(work.peak for work in timed))  # no memory column on a CPU
    return f"{table(HEADER[:n_columns], [row[:n_columns] for row in rows])}\n\n{about}"


def stages_of(
    folder: Path, collection: str, changes: Sequence[str], watch: Callable[[], AbstractContextManager[object]]
) -> Iterator[Work]:
    """Make a new run, stage by stage."""
    shutil.rmtree(folder, ignore_errors=True)
    run: Run = new_run(folder, collection, resolve(STAGES, load_recipe("quick"), list(changes)), recipe="quick", seed=0)
    for stage in STAGES:
        if stage in skipped(run):
            continue
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        started, wall = clock(), time.perf_counter()
        with watch() as counting:
            output = adapt(run, until=stage)[stage]
            synchronized()
        seconds = clock() - started
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        flop, moved = (counting.flop, counting.bytes) if isinstance(counting, Counting) else (0.0, 0.0)
        print(f"{stage}: {seconds:.1f} s, {time.perf_counter() - wall:.1f} s on the wall", file=sys.stderr)
        yield Work(stage, output.manifest["out"], seconds, flop, moved, peak)
        gc.collect()


if __name__ == "__main__":
    main()
