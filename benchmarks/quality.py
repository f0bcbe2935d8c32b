"""The table of docs/results.md: the quick recipe on several collections, every system on the same queries.

    python benchmarks/quality.py                                pydocs alone: it needs no files
    python benchmarks/quality.py pydocs DATA/scifact DATA/npl   and BEIR folders of your own
    python benchmarks/quality.py ... --write                    put the table into docs/results.md

Runs are kept under bench-run/ and go on where they were.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from results_page import table, write_section

from acclimate.search.names import SystemName

ROOT = Path(__file__).parents[1]
STUDENTS = "dense-query,late-interaction-query,sparse-query,static"
COLUMNS = {
    SystemName(name): title
    for name, title in {
        "bm25": "BM25",
        "dense": "dense",
        "late-interaction": "late int.",
        "sparse": "sparse",
        "static": "static",
        "hybrid": "hybrid",
        "bm25+reranker": "BM25 + reranker",
        "hybrid+reranker": "hybrid + reranker",
        "dense:adapted": "dense, adapted",
        "late-interaction:adapted": "late int., adapted",
        "sparse:adapted": "sparse, adapted",
        "static:adapted": "static, adapted",
        "hybrid:adapted": "hybrid, adapted",
    }.items()
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="*", default=["pydocs"])
    parser.add_argument("--out", type=Path, default=ROOT / "bench-run")
    parser.add_argument("--write", action="store_true", help="write the table to docs/results.md")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.KEY=VALUE")
    arguments = parser.parse_args()

    reports: dict[str, dict[str, Any]] = {}
    for collection in arguments.collections:
        name = Path(collection).name
        command = [sys.executable, "-m", "acclimate", "adapt", collection, "--out", str(arguments.out / name)]
        command += ["--set", "evaluate.rerank=bm25,hybrid", "--set", f"distill.student={STUDENTS}"]
        for change in arguments.set:
            command += ["--set", change]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        reports[name] = json.loads((arguments.out / name / "report.json").read_text(encoding="utf-8"))
    text = tables(reports)
    print(text)
    if arguments.write:
        write_section("table", text)


def tables(reports: dict[str, dict[str, Any]]) -> str:
    """nDCG@10 with intervals, the other measures, the differences that count, and what it took."""
    parts = ["**nDCG@10** (95 % bootstrap interval)", _measured(reports, "nDCG@10", intervals=True)]
    for measure in ("R@100", "RR@10", "Success@5"):
        parts += [f"**{measure}**", _measured(reports, measure, intervals=False)]
    parts += ["**Adapted against its own base, and the verdict** (nDCG@10; * p < .05)", _differences(reports)]
    parts += ["**Milliseconds per query** (median, text to ranking, one at a time)", _latencies(reports)]
    parts += ["**Share of the reranked hybrid's nDCG@10, and of its time**", _shares(reports)]
    parts += ["**Index, MB**", _sizes(reports)]
    parts += ["**What was made**", _made(reports)]
    return "\n\n".join(parts)


def _measured(reports: dict[str, dict[str, Any]], measure: str, *, intervals: bool) -> str:
    rows = []
    for system, title in COLUMNS.items():
        cells = []
        for report in reports.values():
            found = next((one for one in report["systems"] if one["name"] == system), None)
            cell = "" if found is None else _number(found["measures"][measure])
            if found is not None and intervals:
                cell += " ({}–{})".format(*map(_number, found["intervals"][measure]))
            cells.append(f"**{cell}**" if found and report["recommended"] == system else cell)
        rows.append([title, *cells])
    return table(["system", *(f"{name} ({r['queries']['count']})" for name, r in reports.items())], rows)


def _differences(reports: dict[str, dict[str, Any]]) -> str:
    rows = []
    for system in (name for name in COLUMNS if name.is_adapted and not name.is_reranked):
        base = system.origin
        rows.append([f"{COLUMNS[system]} − {COLUMNS[base]}", *(_difference(r, system, base) for r in reports.values())])
    rows.append(
        [
            "candidate − best unadapted",
            *(
                f"{_difference(r, r['candidate'], r['baseline'])} ({r['candidate']} − {r['baseline']})"
                for r in reports.values()
            ),
        ]
    )
    rows.append(["verdict", *(r["verdict"] for r in reports.values())])
    rows.append(["recommended", *(r["recommended"] for r in reports.values())])
    return table(["", *reports], rows)


def _difference(report: dict[str, Any], system: str, base: str) -> str:
    for one in report["comparisons"]:
        if (one["system"], one["baseline"], one["measure"]) == (system, base, "nDCG@10"):
            return f"{one['delta']:+.3f}" + ("*" if one["p"] < 0.05 else "")
    return ""


def _latencies(reports: dict[str, dict[str, Any]]) -> str:
    rows = []
    for system, title in COLUMNS.items():
        found = [next((s for s in r["systems"] if s["name"] == system), None) for r in reports.values()]
        rows.append([title, *("" if s is None else f"{s['latency_ms']['p50']:.1f}" for s in found)])
    return table(["system", *reports], rows)


def _shares(reports: dict[str, dict[str, Any]]) -> str:
    rows = []
    for system in (name for name in COLUMNS if name.is_adapted and not name.is_reranked):
        cells = []
        for report in reports.values():
            found = {one["name"]: one for one in report["systems"]}
            if system not in found:
                cells.append("")
                continue
            one, reranked = found[system], found["hybrid+reranker"]
            quality = one["measures"]["nDCG@10"] / reranked["measures"]["nDCG@10"]
            times = reranked["latency_ms"]["p50"] / one["latency_ms"]["p50"]
            cells.append(f"{quality:.0%}, 1/{times:.{0 if times > 10 else 1}f}")
        rows.append([COLUMNS[system], *cells])
    return table(["system", *reports], rows)


def _sizes(reports: dict[str, dict[str, Any]]) -> str:
    rows = []
    for system in map(SystemName, ("bm25", "dense", "late-interaction", "sparse", "static")):
        found = [next((s for s in r["systems"] if s["name"] == system), None) for r in reports.values()]
        rows.append([COLUMNS[system], *("" if s is None else f"{s['index_bytes'] / 1e6:.1f}" for s in found)])
    return table(["system", *reports], rows)


def _made(reports: dict[str, dict[str, Any]]) -> str:
    def stage(report: dict[str, Any], name: str) -> dict[str, Any]:
        return next(one for one in report["stages"] if one["name"] == name)

    rows = [
        ["documents", *(f"{r['corpus']['documents']:,}" for r in reports.values())],
        [
            "queries written / kept",
            *(f"{stage(r, 'generate')['out']} / {stage(r, 'filter')['out']}" for r in reports.values()),
        ],
        ["teacher on held-out queries", *(_teacher(r) for r in reports.values())],
        ["chosen on", *(r["chosen_on"] for r in reports.values())],
    ]
    return table(["", *reports], rows)


def _teacher(report: dict[str, Any]) -> str:
    return ", ".join(f"{one['name']} {_number(one['nDCG@10'])}" for one in report["teachers"])


def _number(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


if __name__ == "__main__":
    main()
