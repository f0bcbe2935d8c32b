"""Extrapolation of hours, money and disk to larger collections, from a finished run on this machine.

    python benchmarks/cost.py demo-run                    of 100 thousand, 10 million and a billion documents
    python benchmarks/cost.py demo-run --queries 10000 --core-hour 0.03
    python benchmarks/cost.py demo-run --write            put the table into docs/scale.md

With n documents and q queries in the run, T(stage) its hours, N and Q what is asked about:

    index, sample       T * N / n                          read every document
    generate ... label  T * Q / q                          read documents drawn, and queries
    searching           SEARCHES * Q * (s(N) - s(n))       what exact search over more documents adds

s is linear in the documents up to those that are searched exactly, measured here as BM25 and dense scores of the run's
own queries; above, it stays (docs/scale.md has what approximate search takes). Stages that a limit of the recipe holds
(train.max_queries, evaluate.max_queries) take what they took.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from results_page import table, write_section

from acclimate.base.files import read_jsonl
from acclimate.search.bm25 import BM25
from acclimate.search.vectors import Vectors

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
DOCUMENTS = (100_000, 10_000_000, 1_000_000_000)
OF_DOCUMENTS = ("index", "sample")
OF_QUERIES = ("seed", "generate", "filter", "steer", "mine", "label", "distill")
SEARCHES = 2  # of a query: its candidates are found once and kept, and evaluate asks some again
EXACT = 500_000  # documents that are searched exactly
ASKED = 50  # queries that are timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run of this machine, with nothing else running")
    parser.add_argument("--queries", type=int, default=5000, help="that an LLM writes (default 5000)")
    parser.add_argument("--core-hour", type=float, default=0.05, help="US dollars (default 0.05)")
    parser.add_argument("--write", action="store_true", help="write the table to docs/scale.md")
    given = parser.parse_args()
    run, cores = Run.of(given.run), os.cpu_count() or 1
    hours = [run.hours(n_docs, given.queries) for n_docs in DOCUMENTS]
    rows = [[stage, *(said(of[stage]) for of in hours)] for stage in hours[0]]
    totals = [sum(of.values()) for of in hours]
    rows += [
        [f"**hours of {cores} cores**", *map(said, totals)],
        [
            f"**at ${given.core_hour} a core and hour**",
            *(f"${total * cores * given.core_hour:,.2f}" for total in totals),
        ],
        *([f"{what}, on disk", *(size(n * of / run.n_docs) for n in DOCUMENTS)] for what, of in run.disk.items()),
    ]
    about = (
        f"From a run over {run.n_docs:,} documents with {run.n_queries:,} queries; {given.queries:,} queries are "
        f"written. Scoring {run.n_docs:,} documents for a query took {1000 * run.search:.2f} ms."
    )
    text = f"{table(['', *(f'{n:,} documents' for n in DOCUMENTS)], rows)}\n\n{about}"
    print(text)
    if given.write:
        write_section("cost", text, PAGE)


def said(hours: float) -> str:
    return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h" if hours >= 0.1 else f"{60 * hours:.1f} min"


def size(n_bytes: float) -> str:
    return f"{n_bytes / 1e12:,.1f} TB" if n_bytes >= 1e12 else f"{n_bytes / 1e9:,.1f} GB"


class Run(NamedTuple):
    """Cost of a finished run on this machine."""

    n_docs: int
    n_queries: int  # that were written
    seconds: dict[str, float]  # stage -> on the clock
    disk: dict[str, int]  # what is kept of documents -> bytes
    search: float  # seconds of a query, of which all grows with the documents

    @classmethod
    def of(cls, folder: Path) -> Run:
        """Read the report, and time searches."""
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        stages = {stage["name"]: stage for stage in report["stages"]}
        vectors = folder / "index" / "vectors"
        disk = {
            "BM25": sum(path.stat().st_size for path in (folder / "index" / "bm25").iterdir()),
            "vectors": (vectors / "pooled.npy").stat().st_size,
            "token vectors": sum((vectors / f"{name}.npy").stat().st_size for name in ("tokens", "scales", "offsets")),
        }
        queries = islice(read_jsonl(folder / "filter" / "queries.jsonl"), ASKED)
        texts = [query["query"] for _, query in queries]
        seconds = {name: stage["seconds"] for name, stage in stages.items()}
        return cls(stages["index"]["out"], stages["generate"]["out"], seconds, disk, searched(folder, texts))

    def hours(self, n_docs: int, n_queries: int) -> dict[str, float]:
        """Hours of each stage for `n_docs` documents and `n_queries` queries."""
        more = {
            **dict.fromkeys(OF_DOCUMENTS, n_docs / self.n_docs),
            **dict.fromkeys(OF_QUERIES, n_queries / self.n_queries),
        }
        hours = {stage: seconds * more.get(stage, 1) / 3600 for stage, seconds in self.seconds.items()}
        grown = max(0, min(n_docs, EXACT) - self.n_docs) / self.n_docs
        return hours | {"searching": SEARCHES * n_queries * self.search * grown / 3600}


def searched(folder: Path, texts: list[str]) -> float:
    """Seconds to score every document for a query by BM25 and by vectors; the best of three."""
    bm25, vectors = BM25.open(folder / "index" / "bm25"), Vectors.open(folder / "index" / "vectors")
    queries = np.asarray(vectors.pooled[: len(texts)])
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        for text in texts:
            bm25.scores(text)
        vectors.dense_scores(queries)
        best = min(best, (time.perf_counter() - started) / len(texts))
    return best


if __name__ == "__main__":
    main()
