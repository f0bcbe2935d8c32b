"""The whole quick recipe with every kind of student on the current device: seconds, memory, placement of weights.

    python benchmarks/gpu.py --out OUT                          pydocs, 300 documents of it read by the LLM
    python benchmarks/gpu.py --out OUT --write                  and the tables into docs/performance.md
    python benchmarks/gpu.py --out OUT --corpus CORPUS --memory 0.05
    python benchmarks/gpu.py --out OUT --device-check --set distill.base=FOLDER --set train.base=FOLDER

For a machine with a GPU and no network: what it takes are the source, the installed wheels (embedded models are in two
of them) and nothing else; `PYTHONPATH=src` where acclimate itself is not installed. Each part is a process of its own,
so that what breaks one, or a device with it, or takes too long, leaves the others; what is most worth knowing comes
first:

    answers    device_answers.py: whether the device says what the CPU says, and says it twice
    stages     a run, stage by stage: its seconds, the peak of the GPU's memory, where the weights of living models are
    queries    the stages from `distill` on again, for students whose index stays
    writing    generation_gpu.py: queries a second, with a CUDA graph and without
    rates      rates.py: documents and pairs a second
    profile    stage_profile.py: each stage beside what its arithmetic would take

What they print is in OUT/gpu.txt as it comes, what they and libraries log in OUT/PART.log, the tables of the last three
in OUT/performance.md. It ends with exit code 1 where a part failed, where the base left the device, or where a
student's folder is not what plain sentence-transformers loads and asks for queries.

    --parts NAMES       these alone, such as stages,queries
    --seconds N         for all parts together (default 470); what has not begun by then is left out
    --memory SHARE      lets PyTorch have so much of the GPU's memory in a run's stages, to see batches halved
    --device-check      forty built-in documents and the LLM of the tests, to try the stages on a CPU in a minute
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from results_page import PAGE, write_section
from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder

import acclimate.llm
from acclimate.base import models
from acclimate.base.testing import DOCS, FakeLLM
from acclimate.run.recipes import load_recipe
from acclimate.run.run import Run
from acclimate.run.settings import resolve
from acclimate.stages.chain import STAGES, adapt
from acclimate.stages.runs import new_run

STUDENTS = ("dense,late-interaction,sparse,static", "dense-query,late-interaction-query,sparse-query")
PLAIN = {
    "dense": SentenceTransformer,
    "static": SentenceTransformer,
    "late-interaction": MultiVectorEncoder,
    "sparse": SparseEncoder,
}
ROOT = Path(__file__).parents[1]
PARTS = ("answers", "stages", "queries", "writing", "rates", "profile")
TABLES = ("writing", "rates", "profile")
LAST_LINES = 15  # shown of the log of a failed part
PROFILED, ENCODED = 300, 4096  # documents
SLICE = ["sample.n_docs=300", "train.max_queries=100", "evaluate.max_queries=50"]
SMALL = ["sample.n_docs=36", "sample.dev_share=0.3", "sample.min_chars=10", "index.max_tokens=48", "mine.n_ways=3"]
SMALL += ["train.max_tokens=48", "label.n_ways=8", "distill.epochs=1", "evaluate.rerank_depth=5"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--corpus", default="pydocs")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="stage.key=value")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--seconds", type=float, default=470.0)
    parser.add_argument("--memory", type=float, default=1.0, metavar="SHARE")
    parser.add_argument("--device-check", action="store_true")
    parser.add_argument("--students", help=argparse.SUPPRESS)  # the stages with these, in this process
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.device_check:
        given.corpus = str(given.out / "corpus.jsonl")
        rows = [{"_id": doc.doc_id, "title": doc.title, "text": doc.text} for doc in DOCS]
        Path(given.corpus).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        with mock.patch.object(acclimate.llm, "load", return_value=FakeLLM()):
            changes = [*SMALL, *given.settings]
            faults = [fault for each in STUDENTS for fault in tried(given.out / "run", given.corpus, changes, each)]
    elif given.students:
        if torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(given.memory)
        faults = list(tried(given.out / "run", given.corpus, [*SLICE, *given.settings], given.students))
    else:
        return in_parts(given)
    print("\n".join(faults) or "all stages were made, and everything is where it should be")
    return bool(faults)


def in_parts(given: argparse.Namespace) -> int:
    """Run each part in a process of its own, within the total time limit."""
    begun, failed = time.monotonic(), list[str]()
    tables: dict[str, list[str]] = {}
    with (given.out / "gpu.txt").open("w", encoding="utf-8") as log:

        def say(line: str) -> None:
            print(line, flush=True)
            log.write(line + "\n")
            log.flush()  # the machine may be lost at any time

        say(f"{about()}, computing in {models.dtype_name()}")
        for name in given.parts.split(","):
            left = given.seconds - (time.monotonic() - begun)
            say(f"\n== {name} ({left:.0f} s left)")
            if left <= 0:
                failed.append(f"{name}: no time was left")
                continue
            lines, problem = output_of(command_of(name, given), given.out / f"{name}.log", left, say)
            if problem:
                failed.append(f"{name}: {problem}")
            elif name in TABLES:
                tables[name] = lines
                (given.out / "performance.md").write_text(page(tables), encoding="utf-8")
        if given.write:
            if missing := [name for name in TABLES if name not in tables]:
                failed.append(f"docs/performance.md stays as it is, without {', '.join(missing)}")
            else:
                write_section("gpu", page(tables).rstrip(), PAGE.with_name("performance.md"))
        say("\n" + ("\n".join(failed) or "all parts were done, and everything is where it should be"))
    return bool(failed)


def command_of(name: str, given: argparse.Namespace) -> list[str]:
    """The command line of a part."""
    changes = [f"--set={change}" for change in given.settings]
    stages = ["gpu.py", f"--out={given.out}", f"--corpus={given.corpus}", f"--memory={given.memory}", *changes]
    script, *arguments = {
        "answers": ["device_answers.py"],
        "stages": [*stages, f"--students={STUDENTS[0]}"],
        "queries": [*stages, f"--students={STUDENTS[1]}"],
        "writing": ["generation_gpu.py"],
        "rates": ["rates.py", given.corpus, f"--docs={ENCODED}", f"--out={given.out}"],
        "profile": [
            "stage_profile.py", given.corpus, f"--docs={PROFILED}", f"--out={given.out}",
            "--set=evaluate.max_queries=100", *changes,
        ],
    }[name]  # fmt: skip
    return [sys.executable, str(ROOT / "benchmarks" / script), *arguments]


def output_of(command: Sequence[str], log: Path, seconds: float, say: Callable[[str], None]) -> tuple[list[str], str]:
    """(lines that a process printed, its error or ""). log: file for its stderr."""
    lines, begun = list[str](), time.monotonic()
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        end = threading.Timer(seconds, process.kill)
        end.start()
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            say(lines[-1])
        code = process.wait()
        end.cancel()
    took = f"{time.monotonic() - begun:.0f} s"
    say(f"-- {took}")
    if not code:
        return lines, ""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]:
        say(line)
    return lines, f"exit code {code} after {took}; {log} has more"


def page(tables: Mapping[str, Sequence[str]]) -> str:
    """The available tables in Markdown, with the GPU's name and the commit."""
    parts = ["\n".join(f"- {line}" for line in lines) if name == "writing" else "\n".join(lines)
             for name, lines in tables.items()]  # fmt: skip
    try:
        git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    except OSError:
        git = ""
    return "\n\n".join([*parts, f"{about()}. Commit {git.strip() or 'unknown'}."]) + "\n"


def about() -> str:
    """The device's name, if it has one, or its type."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else models.device()


def tried(folder: Path, corpus: str, settings: Sequence[str], students: str) -> Iterator[str]:
    """Make the run with these students; yields errors."""
    print(f"\n{'stage':<10} {'seconds':>8} {'peak GiB':>9}  living weights   ({students})", flush=True)
    chosen = resolve(STAGES, load_recipe("quick"), [*settings, f"distill.student={students}"])
    run = new_run(folder, corpus, chosen, recipe="quick", seed=0)
    for stage in STAGES:
        if stage != "seed":
            measured(run, stage)
        if (base := vars(run.base).get("encoder")) and (fault := misplaced(base.model)):
            yield f"{stage}: the base is on {fault}, not on {models.device()}"
    for name in students.split(","):
        kind = name.removesuffix("-query")
        plain = PLAIN[kind](str(folder / "distill" / kind), device=models.device())
        if not same(plain.encode(["why does rice"]), plain.encode_query(["why does rice"])):
            yield f"{name}: plain encode is not encode_query"
        if fault := misplaced(plain):
            yield f"{name}: loaded on {fault}"


def measured(run: Run, stage: str) -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    begun = time.monotonic()
    adapt(run, until=stage)
    seconds = time.monotonic() - begun
    peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
    gc.collect()
    living = Counter(weight.device.type for weight in gc.get_objects() if type(weight) is torch.nn.Parameter)
    print(f"{stage:<10} {seconds:8.1f} {peak:9.2f}  {dict(living)}", flush=True)


def misplaced(model: torch.nn.Module) -> str:
    """Wrong devices that hold weights."""
    return ", ".join(sorted({weight.device.type for weight in model.parameters()} - {models.device()}))


def same(answer: Any, expected: Any) -> bool:
    """True if two encodings of one text are the same vectors."""
    first, second = (torch.as_tensor(vectors[0]).to_dense().float().cpu() for vectors in (answer, expected))
    return first.shape == second.shape and torch.allclose(first, second, atol=1e-3)


if __name__ == "__main__":
    sys.exit(main())
