"""docs/performance.md for this machine: each stage against its arithmetic, three baselines, cold starts, growth.

    python benchmarks/performance.py                   half an hour on two idle cores, on pydocs
    python benchmarks/performance.py --write           put the tables into docs/performance.md
    python benchmarks/performance.py --only cold       one of: stages, reading, generation, cold, growth

On a CPU all seconds are of the processor, so what else the machine does matters less; set the threads with
OMP_NUM_THREADS. The last line is `encode Nx label Nx generate Nx`: against SentenceTransformer.encode,
CrossEncoder.predict and InPars' way to generate, each at its defaults. On a GPU see benchmarks/gpu.py.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from results_page import table, write_section
from watched import used

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "performance.md"
DOCS = 60  # of the profile
GROWTH = (1, 4, 16)
SMALLEST = {"corpus": 250, "sample.n_docs": 24, "evaluate.max_queries": 8}
GROWN = ("index", "generate", "label", "evaluate")
SYSTEMS = ("bm25", "dense", "hybrid:adapted", "hybrid+reranker")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "bench-run", help="runs, made again each time")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/performance.md")
    given = parser.parse_args()
    given.out = given.out.resolve()  # commands run in this folder
    given.out.mkdir(parents=True, exist_ok=True)
    texts = {name: part(given.out) for name, part in PARTS.items() if given.only in (None, name)}
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    about = (
        f"Commit {git.stdout.strip() or 'unknown'}, {datetime.datetime.now(datetime.UTC).date()}; load average at the "
        f"end {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    )
    text = "\n\n".join([*(f"### {TITLES[name]}\n\n{text}" for name, text in texts.items()), about])
    print(text)
    if given.write:
        write_section("cpu", text, PAGE)
    ratios = re.findall(r"(?:encode|label|generate) [\d.]+x", text)
    print(" ".join(ratios))


def stages(out: Path) -> str:
    text = printed("stage_profile.py", "--docs", str(DOCS), "--out", str(out))
    return text[text.index("| stage") :]  # after the progress lines


def reading(out: Path) -> str:
    lines = printed("reading.py").splitlines()
    return "\n".join([*(f"- {line}" for line in lines[:-1]), "", f"**{lines[-1]}**"])


def generation(out: Path) -> str:
    text = printed("generation.py", "--out", str(out)).partition(" Commit ")[0]  # stated once for all parts
    ratio = next(line.split("|")[6].strip(" ×") for line in text.splitlines() if line.startswith("| **acclimate**"))
    return f"{text}\n\n**generate {ratio}x**"


def cold(out: Path) -> str:
    """CPU seconds of commands in new processes; the best of three."""
    run = out / "profile"  # made by `stages`
    helps = {"`acclimate --help`": ["--help"], "`acclimate label --help`": ["label", "--help"]}
    commands = helps | {
        f'`acclimate search RUN "..." --system {system}`': [
            "search",
            str(run),
            "how to sort a list",
            "--system",
            system,
        ]
        for system in SYSTEMS
    }
    rows: list[list[str]] = []
    for name, arguments in commands.items():
        usages = [used([sys.executable, "-m", "acclimate", *arguments], out) for _ in range(3)]
        best = min(usages, key=lambda usage: usage.cpu_seconds)
        rows.append([name, f"{best.cpu_seconds:.2f}", f"{best.megabytes:,.0f}"])
    return table(["", "CPU seconds", "MB at most"], rows)


def growth(out: Path) -> str:
    """Seconds per unit of the same stages at several sizes of corpus, sample and test set."""
    from acclimate.corpus import collections

    corpus = collections.load("pydocs", out).corpus
    seconds: dict[str, list[str]] = {stage: [] for stage in GROWN}
    memory: list[str] = []
    for times in GROWTH:
        part = out / f"growth-{times}.jsonl"
        docs = [corpus[doc_id] for doc_id in sorted(corpus)[: SMALLEST["corpus"] * times]]
        part.write_text("".join(json.dumps({"_id": d.doc_id, "title": d.title, "text": d.text}) + "\n" for d in docs))
        command = [
            sys.executable,
            str(HERE / "stage_profile.py"),
            str(part),
            "--timed-only",
            "--out",
            str(out / f"{times}"),
        ]
        command += ["--docs", str(SMALLEST["sample.n_docs"] * times)]
        command += ["--set", f"evaluate.max_queries={SMALLEST['evaluate.max_queries'] * times}"]
        usage = used(command, out)
        works = [json.loads(line) for line in (out / "output.txt").read_text().splitlines() if line.startswith("{")]
        for work in works:
            if work["stage"] in seconds:
                seconds[work["stage"]].append(f"{work['seconds'] / work['units'] * 1000:.1f} ({work['units']:,})")
        memory.append(f"{usage.megabytes:,.0f}")
    rows = [[stage, *cells] for stage, cells in seconds.items()]
    header = ["milliseconds a unit (units)", *(f"{times}×" for times in GROWTH)]
    return table(header, [*rows, ["MB at most, whole process", *memory]])


def printed(script: str, *arguments: str) -> str:
    """The output of a benchmark. Raises if it fails."""
    return subprocess.run(
        [sys.executable, str(HERE / script), *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


PARTS: dict[str, Callable[[Path], str]] = {
    "stages": stages,
    "reading": reading,
    "generation": generation,
    "cold": cold,
    "growth": growth,
}
TITLES = {
    "stages": f"The quick recipe, stage by stage ({DOCS} documents of pydocs)",
    "reading": "Reading, against sentence-transformers",
    "generation": "Writing queries, against InPars' way",
    "cold": "Cold starts",
    "growth": "Growth",
}


if __name__ == "__main__":
    main()
