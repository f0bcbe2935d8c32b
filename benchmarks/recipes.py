"""All recipes compared at laptop scale, with embedded models in place of their own.

    python benchmarks/recipes.py DATA/scifact DATA/cranfield
    python benchmarks/recipes.py --docs 1000 --recipes udapdr,gpl DATA/scifact
    python benchmarks/recipes.py ... --write             put the table into docs/results.md

What it says of a method is what is left of it with a small encoder, a 135M LLM and N documents: not what its paper
measured. Runs are kept under bench-run/recipes and go on where they were; a finished one takes seconds. Minutes are
the processor's, on one thread, so that they can be compared wherever else the machine is busy; the index, which all
recipes share, is in those of the first.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from results_page import table, write_section

import acclimate
from acclimate.search.names import SystemName

ROOT = Path(__file__).parents[1]
OVERLAY = "embedded"
BASELINES = ("bm25", "dense", "late-interaction", "hybrid")
DEPTH = 20  # documents reranked
MOST_PER_DOC = 2  # queries
CHANGES = [  # smaller numbers than recipes have for GPUs
    "sample.dev_share=0.15",
    "seed.n_docs=60",  # about one in ten questions of so small an LLM is usable
    "seed.n_prompts=3",
    "seed.max_new_tokens=48",
    "index.max_tokens=256",
    "generate.max_doc_tokens=128",
    "generate.max_new_tokens=32",
    "filter.reranker_tokens=160",
    "train.max_steps=0",
    "train.max_queries=200",
    "train.batch_size=4",
    "train.gradient_accumulation=1",
    "train.max_tokens=128",
    "label.reranker_ways=8",
    "distill.max_steps=0",
    "distill.epochs=2",
    "distill.batch_size=16",
    "evaluate.rerank=",
    "evaluate.max_queries=100",
]
# (factor on the number of documents, share of queries for each reranker if they teach on the others), tried in order
# while too few queries pass a recipe's filters
ATTEMPTS = ((1, 1 / 8), (1, 1 / 24), (2.5, 1 / 24))
OF_RECIPES = {
    "gpl": ["generate.per_doc=1", "generate.prompt=question"],  # its own LLM needs no instruction
    # After a bare document so small an LLM just continues it; a hundred pairs per query take 4 GB.
    "udapdr-sequential": ["seed.cue=true", "train.batch_size=1", "distill.batch_size=4"],
    "cadet": ["generate.per_doc=1"],  # rating by an LLM is slow
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", help="BEIR folders")
    parser.add_argument("--docs", type=int, default=300, help="documents that queries are written for (default 300)")
    parser.add_argument("--recipes", default="", help="some of them, by commas")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-run" / "recipes")
    parser.add_argument("--write", action="store_true", help="write the table to docs/results.md")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.KEY=VALUE")
    arguments = parser.parse_args()
    names = [name for name in acclimate.recipes() if name != OVERLAY]
    parts = []
    for collection in arguments.collections:
        out = arguments.out / Path(collection).name
        rows: list[list[str]] = []
        for name in arguments.recipes.split(",") if arguments.recipes else names:
            for times, share in ATTEMPTS:
                n_docs = int(times * arguments.docs)
                folder = out / f"{name}-{n_docs}"
                failure = adapted(collection, name, folder, n_docs, share, arguments.set)
                if "queries" not in failure:
                    break
            rows += [[name, failure]] if failure else measured(name, folder, n_docs, is_first=not rows)
            print(" | ".join(rows[-1]), file=sys.stderr)
        head = ["recipe", "system", "nDCG@10 (95 %)", "against BM25", "documents", "queries kept", "CPU minutes"]
        parts.append(f"**{Path(collection).name}**\n\n{table(head, rows)}")
    text = "\n\n".join(parts)
    print(text)
    if arguments.write:
        write_section("recipes", text)


def adapted(collection: str, name: str, out: Path, n_docs: int, share: float, changes: Sequence[str]) -> str:
    """Make the run of a recipe; returns the reason if that fails, else ""."""
    recipe = acclimate.recipe(f"{name},{OVERLAY}")
    per_doc = min(recipe.settings["generate"]["per_doc"], MOST_PER_DOC)
    headline = recipe.headline or ""  # if it is a student, its teacher is not measured
    systems = re.sub(r"@\d+", f"@{DEPTH}", headline) if "+" in headline else ""
    ours = [f"sample.n_docs={n_docs}", *CHANGES, f"generate.per_doc={per_doc}", f"evaluate.systems={systems}"]
    share_index(out)
    command = [sys.executable, "-m", "acclimate", "adapt", collection, "--out", str(out), "--recipe", recipe.name]
    if recipe.settings["label"]["queries"] == "unseen":
        ours += [f"train.max_queries={max(8, int(share * n_docs * per_doc))}", "train.min_queries=8"]
    for change in (*ours, *OF_RECIPES.get(name, ()), *changes):
        command += ["--set", change]
    before = children_seconds()
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    spent = out.with_name(f"{out.name}.seconds")
    earlier = float(spent.read_text()) if spent.exists() else 0.0  # of an interrupted run
    spent.write_text(str(earlier + children_seconds() - before))
    return done.stderr.strip().splitlines()[-1].removeprefix("acclimate: ")[:160] if done.returncode else ""


def children_seconds() -> float:
    """CPU seconds of all ended child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def share_index(out: Path) -> None:
    """Start a run with another's index of the same collection (all use the same encoder and lengths)."""
    indexed = [path.parents[1] for path in sorted(out.parent.glob("*/index/manifest.json"))]
    if out.exists() or not indexed:
        return
    beside = out.with_name(f"{out.name}.copying")
    shutil.rmtree(beside, ignore_errors=True)
    for part in ("corpus", "index"):
        shutil.copytree(indexed[0] / part, beside / part)
    shutil.copy(indexed[0] / "run.json", beside)
    beside.rename(out)


def measured(name: str, folder: Path, n_docs: int, *, is_first: bool) -> list[list[str]]:
    """Rows of the table: the recipe's own system, for the first recipe after the untouched ones."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    systems = {system["name"]: system for system in report["systems"]}
    headline = re.sub(r"@\d+", f"@{DEPTH}", acclimate.recipe(name).headline or report["candidate"])
    stages = {stage["name"]: stage for stage in report["stages"]}
    minutes = float(folder.with_name(f"{folder.name}.seconds").read_text()) / 60
    made = [str(n_docs), f"{stages['filter']['out']:,}", f"{minutes:.1f}"]
    rows = [["", system, *reached(folder, systems, system), "", "", ""] for system in BASELINES if is_first]
    return [*rows, [name, headline, *reached(folder, systems, headline), *made]]


def reached(folder: Path, systems: dict[str, dict[str, Any]], name: str) -> list[str]:
    """nDCG@10 of a system with its interval, and the difference from BM25 with its own."""
    system, runs = systems[name], folder / "evaluate" / "runs"
    low, high = system["intervals"]["nDCG@10"]
    value = f"{system['measures']['nDCG@10']:.3f} ({low:.3f}–{high:.3f})"
    if name == "bm25":
        return [value, ""]
    files = [runs / f"{SystemName(each).file_name}.trec" for each in (name, "bm25")]
    row = acclimate.compare(folder / "evaluate" / "qrels.trec", *files)[0].comparison
    return [value, f"{row.delta:+.3f} ({row.ci95[0]:+.3f} to {row.ci95[1]:+.3f})" + ("*" if row.p < 0.05 else "")]


if __name__ == "__main__":
    main()
