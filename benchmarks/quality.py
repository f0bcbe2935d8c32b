"""The main tables of docs/results.md: the quick recipe on several collections, every system on the same queries.

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
        "hybrid": "hybrid (RRF)",
        "hybrid:equal": "hybrid, equal",
        "hybrid:tuned": "hybrid, tuned",
        "bm25+reranker": "BM25 + reranker",
        "hybrid+reranker": "hybrid + reranker",
        "dense:adapted": "dense, adapted",
        "late-interaction:adapted": "late int., adapted",
        "sparse:adapted": "sparse, adapted",
        "static:adapted": "static, adapted",
        "hybrid:adapted": "hybrid, adapted",
        "hybrid:adapted:feedback": "with feedback",
    }.items()
}
SUMMARY = [
    name
    for name in COLUMNS
    if not name.is_reranked and (name.startswith("hybrid") or name in ("bm25", "dense", "late-interaction"))
]


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
    sections = {"summary": summary(reports), "table": tables(reports)}
    print(*sections.values(), sep="\n\n")
    if arguments.write:
        for name, text in sections.items():
            write_section(name, text)


def summary(reports: dict[str, dict[str, Any]]) -> str:
    """nDCG@10 of what users have and what acclimate gives, and the verdict on the difference."""
    rows = []
    for collection, report in reports.items():
        measured = [_row(report, system) for system in SUMMARY]
        cells = ["" if row is None else _number(row["measures"]["nDCG@10"]) for row in measured]
        rows.append([f"{collection} ({report['queries']['count']})", *cells])
        rows[-1] += [_key_difference(report), report["verdict"], report["recommended"]]
    header = [*(COLUMNS[system] for system in SUMMARY), "candidate − best existing", "verdict", "recommended"]
    return table(["nDCG@10", *header], rows)


def tables(reports: dict[str, dict[str, Any]]) -> str:
    """nDCG@10 with intervals, the other measures, the main differences, and the cost."""
    parts = ["**nDCG@10** (95 % bootstrap interval)", _measured(reports, "nDCG@10", intervals=True)]
    for measure in ("R@100", "RR@10", "Success@5"):
        parts += [f"**{measure}**", _measured(reports, measure, intervals=False)]
    parts += ["**What each step adds, and the verdict** (nDCG@10; * p < .05)", _differences(reports)]
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
            row = _row(report, system)
            cell = "" if row is None else _number(row["measures"][measure])
            if row is not None and intervals:
                cell += " ({}–{})".format(*map(_number, row["intervals"][measure]))
            cells.append(f"**{cell}**" if row and report["recommended"] == system else cell)
        rows.append([title, *cells])
    return table(["system", *(f"{name} ({report['queries']['count']})" for name, report in reports.items())], rows)


def _row(report: dict[str, Any], system: str) -> dict[str, Any] | None:
    return next((row for row in report["systems"] if row["name"] == system), None)


def _differences(reports: dict[str, dict[str, Any]]) -> str:
    rows = []
    for system in (name for name in COLUMNS if name.steps and not name.is_reranked):
        differences = [_difference(report, system, system.origin) for report in reports.values()]
        rows.append([f"{COLUMNS[system]} − {COLUMNS[system.origin]}", *differences])
    rows.append(["candidate − best of BM25, dense, RRF", *map(_key_difference, reports.values())])
    rows.append(["verdict", *(report["verdict"] for report in reports.values())])
    rows.append(["recommended", *(report["recommended"] for report in reports.values())])
    return table(["", *reports], rows)


def _difference(report: dict[str, Any], system: str, base: str) -> str:
    for comparison in report["comparisons"]:
        if (comparison["system"], comparison["baseline"], comparison["measure"]) == (system, base, "nDCG@10"):
            return f"{comparison['delta']:+.3f}" + ("*" if comparison["p"] < 0.05 else "")
    return ""


def _key_difference(report: dict[str, Any]) -> str:
    candidate, baseline = report["candidate"], report["baseline"]
    return f"{_difference(report, candidate, baseline)} ({candidate} − {baseline})"


def _latencies(reports: dict[str, dict[str, Any]]) -> str:
    rows = []
    for system, title in COLUMNS.items():
        measured = [_row(report, system) for report in reports.values()]
        rows.append([title, *("" if row is None else f"{row['latency_ms']['p50']:.1f}" for row in measured)])
    return table(["system", *reports], rows)


def _shares(reports: dict[str, dict[str, Any]]) -> str:
    rows = []
    for system in (name for name in COLUMNS if name.is_adapted and not name.is_reranked):
        cells = []
        for report in reports.values():
            row, reranked = _row(report, system), _row(report, "hybrid+reranker")
            if row is None or reranked is None:
                cells.append("")
                continue
            quality = row["measures"]["nDCG@10"] / reranked["measures"]["nDCG@10"]
            times = reranked["latency_ms"]["p50"] / row["latency_ms"]["p50"]
            cells.append(f"{quality:.0%}, 1/{times:.{0 if times > 10 else 1}f}")
        rows.append([COLUMNS[system], *cells])
    return table(["system", *reports], rows)


def _sizes(reports: dict[str, dict[str, Any]]) -> str:
    rows = []
    for system in map(SystemName, ("bm25", "dense", "late-interaction", "sparse", "static")):
        measured = [_row(report, system) for report in reports.values()]
        rows.append([COLUMNS[system], *("" if row is None else f"{row['index_bytes'] / 1e6:.1f}" for row in measured)])
    return table(["system", *reports], rows)


def _made(reports: dict[str, dict[str, Any]]) -> str:
    def stage(report: dict[str, Any], name: str) -> dict[str, Any]:
        return next(row for row in report["stages"] if row["name"] == name)

    rows = [
        ["documents", *(f"{report['corpus']['documents']:,}" for report in reports.values())],
        [
            "queries written / kept",
            *(f"{stage(report, 'generate')['out']} / {stage(report, 'filter')['out']}" for report in reports.values()),
        ],
        ["teacher on held-out queries", *(_teacher(report) for report in reports.values())],
        ["chosen on", *(report["chosen_on"] for report in reports.values())],
    ]
    return table(["", *reports], rows)


def _teacher(report: dict[str, Any]) -> str:
    return ", ".join(f"{teacher['name']} {_number(teacher['nDCG@10'])}" for teacher in report["teachers"])


def _number(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


if __name__ == "__main__":
    main()
