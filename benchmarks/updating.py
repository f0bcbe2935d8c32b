"""Cost of updates: CPU milliseconds per new document, compared with reindexing everything.

    python benchmarks/updating.py RUN [--counts 1,100,1000]

works on a copy of RUN, in a folder that is removed at the end. What comes are documents of the run under other ids,
each with a word that none had, so that they are as long as documents are. The first update also counts the terms of
every document, and is in a line of its own. Times are those of the processor, which other work on the machine does not
change.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import acclimate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--counts", type=lambda text: [int(count) for count in text.split(",")], default=[1, 100, 1000])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="updating-") as name:
        folder = Path(name) / "run"
        shutil.copytree(options.run, folder, ignore=shutil.ignore_patterns("updated", "exports", "curve"))
        measure(folder, options.counts)


def measure(folder: Path, counts: list[int]) -> None:
    """Print the table of one run. Modifies the run."""
    from acclimate.stages.runs import open_run

    run, outputs = open_run(folder, "evaluate")
    docs = list(run.input.documents.values())
    distilled = outputs.get("distill")
    kinds = ", ".join(note["student"] for note in distilled.notes.values()) if distilled else "none"
    print(f"{len(docs):,} documents, {len(run.input.corpus):,} indexed; students: {kinds}")
    run.base.encoder.encode(["a first call, which is slower"])  # warm-up; loads the model
    print(f"{'what':34} {'seconds':>9} {'ms/document':>12}")
    row("the first, of 1, with all counts", 1, lambda: update(folder, docs[:1], "first"))
    for count in counts:
        some = [docs[place % len(docs)] for place in range(count)]
        row(f"an update of {count:,}", count, lambda some=some, count=count: update(folder, some, f"of-{count}"))
    row("everything anew", len(docs), lambda: anew(run, outputs, folder.parent / "anew"))


def update(folder: Path, docs: list[Any], name: str) -> None:
    """Add documents under ids with the prefix `name`."""
    path = folder.parent / f"{name}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, doc in enumerate(docs):
            row = {"_id": f"{name}-{number}", "title": doc.title, "text": f"{doc.text} {name}{number}"}
            file.write(json.dumps(row) + "\n")
    acclimate.open(folder).update(path, progress=None)


def anew(run: Any, outputs: Any, folder: Path) -> None:
    """Reindex all documents of the run, for the base and its students."""
    from acclimate.stages.index import index

    index(run.input.corpus, run.base.encoder, folder, **run.settings["index"])
    if distilled := outputs.get("distill"):
        run.updated_folder = folder
        run.__dict__.pop("base", None)
        distilled.students(run).index()


def row(what: str, count: int, work: Callable[[], None]) -> None:
    """Print a row with the cost of `work`."""
    started = time.process_time()
    work()
    seconds = time.process_time() - started
    print(f"{what:34} {seconds:9.2f} {1000 * seconds / count:12.1f}", flush=True)


if __name__ == "__main__":
    main()
