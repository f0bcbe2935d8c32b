"""The quick recipe to its end with every kind of student, on whatever device there is: seconds, memory, placement.

    python benchmarks/gpu.py --out OUT                          pydocs, 300 documents of it read by the LLM
    python benchmarks/gpu.py --out OUT --write                  and the tables into docs/performance.md
    python benchmarks/gpu.py --out OUT --corpus CORPUS --memory 0.05
    python benchmarks/gpu.py --out OUT --device-check --set distill.base=FOLDER --set train.base=FOLDER

For a machine with a GPU and no network: what it takes are the source, the installed wheels (embedded models are in two
of them) and nothing else; `PYTHONPATH=src` where acclimate itself is not installed. First come the rates of rates.py
and generation_gpu.py and the profile of stage_profile.py, printed and written to OUT/performance.md. Then one run is
made, stage by stage, and the stages from `distill` on are made again for the second set of students. Printed are, for
each stage, its seconds, the peak of the GPU's memory, and where the weights of living models are. It ends with exit
code 1 where a stage's error is no mistake of a user, where the base left the device, or where a student's folder is not
what plain sentence-transformers loads and asks for queries.

    --checks-only       no rates and no profile
    --memory SHARE      lets PyTorch have so much of the GPU's memory, to see batches halved
    --device-check      forty built-in documents and the LLM of the tests, to try this script on a CPU in a minute
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder

import acclimate.llm
from acclimate.base import models
from acclimate.base.testing import DOCS, FakeLLM
from acclimate.run.recipes import load_recipe
from acclimate.run.run import Run
from acclimate.run.settings import resolve
from acclimate.stages.chain import STAGES, adapt
from acclimate.stages.runs import begin

STUDENTS = ("dense,late-interaction,sparse,static", "dense-query,late-interaction-query,sparse-query")
PLAIN = {
    "dense": SentenceTransformer,
    "static": SentenceTransformer,
    "late-interaction": MultiVectorEncoder,
    "sparse": SparseEncoder,
}
ROOT = Path(__file__).parents[1]
PROFILED, ENCODED = 600, 4096  # documents
SLICE = ["sample.n_docs=300", "train.max_queries=100", "evaluate.max_queries=50"]
SMALL = ["sample.n_docs=36", "sample.dev_share=0.3", "sample.min_chars=10", "index.max_tokens=48", "mine.n_ways=3"]
SMALL += ["train.max_tokens=48", "label.n_ways=8", "distill.epochs=1", "evaluate.rerank_depth=5"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--corpus", default="pydocs")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="stage.key=value")
    parser.add_argument("--memory", type=float, default=1.0, metavar="SHARE")
    parser.add_argument("--device-check", action="store_true")
    parser.add_argument("--checks-only", action="store_true")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(given.memory)
        print(f"{torch.cuda.get_device_name()}, computing in {models.dtype_name()}")
    else:
        print(f"{models.device()}, computing in {models.dtype_name()}")
    given.out.mkdir(parents=True, exist_ok=True)
    if given.device_check:
        given.corpus = str(given.out / "corpus.jsonl")
        rows = [{"_id": doc.doc_id, "title": doc.title, "text": doc.text} for doc in DOCS]
        Path(given.corpus).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        with mock.patch.object(acclimate.llm, "load", return_value=FakeLLM()):
            faults = list(tried(given.out / "run", given.corpus, [*SMALL, *given.settings]))
    else:
        if not given.checks_only:
            text = performance(given.corpus, given.out)
            print(text, flush=True)
            (given.out / "performance.md").write_text(text + "\n", encoding="utf-8")
            if given.write:
                from results_page import PAGE, write_section

                write_section("gpu", text, PAGE.with_name("performance.md"))
        faults = list(tried(given.out / "run", given.corpus, [*SLICE, *given.settings]))
    print("\n".join(faults) or "all stages were made, and everything is where it should be")
    return bool(faults)


def performance(corpus: str, out: Path) -> str:
    """Both tables in Markdown, with the card and the commit."""
    import rates
    import stage_profile

    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    about = f"{rates.device()}. Commit {git.stdout.strip() or 'unknown'}."
    profile = stage_profile.profile(corpus, PROFILED, out, ["evaluate.max_queries=200"])
    command = [sys.executable, str(ROOT / "benchmarks" / "generation_gpu.py")]
    written = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    writing = "\n".join(f"- {line}" for line in written)
    return "\n\n".join([rates.measured(corpus, ENCODED, out), writing, profile, about])


def tried(folder: Path, corpus: str, settings: Sequence[str]) -> Iterator[str]:
    """Make the run with each set of students; what is wrong."""
    for students in STUDENTS:
        print(f"\n{'stage':<10} {'seconds':>8} {'peak GiB':>9}  living weights   ({students})")
        chosen = resolve(STAGES, load_recipe("quick"), [*settings, f"distill.student={students}"])
        run = begin(folder, corpus, chosen, recipe="quick", seed=0)
        for stage in STAGES:
            if stage != "seed":
                measured(run, stage)
            if (base := vars(run).get("encoder")) and (fault := misplaced(base.model)):
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
    """Devices that weights are on but should not be."""
    return ", ".join(sorted({weight.device.type for weight in model.parameters()} - {models.device()}))


def same(answer: Any, expected: Any) -> bool:
    """Whether two answers to one text are the same vectors."""
    first, second = (torch.as_tensor(vectors[0]).to_dense().float().cpu() for vectors in (answer, expected))
    return first.shape == second.shape and torch.allclose(first, second, atol=1e-3)


if __name__ == "__main__":
    sys.exit(main())
