"""Kills a run repeatedly and checks that it ends with the same bytes as an undisturbed one.

    python benchmarks/kill_test.py --kills 20

An undisturbed run says what should come out and how long it takes. Then the same command is started in another folder,
killed with SIGKILL at moments drawn from the whole of that time, and started again, until it ends by itself. All files
must be the same, what clocks write aside. Prompts are counted as the LLM is asked: a kill may cost the batch at hand,
so that many may be asked twice, and no more. Exits 1 on any difference.

`--fake-llm` and `--encoder` make a quick one, as the tests do. `--generate 300` kills while queries are written for
that many documents of pydocs, in batches of the usual size: ten kills may cost ten batches.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from acclimate.base.files import write_json
from acclimate.base.testing import DOCS
from acclimate.llm.decoding import Decoding
from acclimate.llm.protocol import LLM
from acclimate.records import Completion
from acclimate.stages.chain import STAGES

SETTINGS = """
sample.n_docs=24 sample.min_chars=40 sample.dev_share=0.3 index.max_tokens=48 generate.max_doc_tokens=24
generate.max_new_tokens=24 mine.n_ways=3 train.batch_size=2 train.max_tokens=48 label.n_ways=8 distill.epochs=2
distill.batch_size=4 evaluate.rerank_depth=5
""".split()
BATCH_PROMPTS = 4  # with the default of 32, a small corpus is one batch, and a kill always loses all of it
CLOCKS = re.compile(rb'"(seconds|p50|p95|share_of_latency|(?:from|to)(?=": \d+\.))": [\d.e-]+')


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoder", help="encoder to start from, instead of the one that travels as a package")
    parser.add_argument("--fake-llm", action="store_true", help="an LLM that needs no model and takes 50 ms a prompt")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder else")
    parser.add_argument("--generate", type=int, metavar="N", help="kill only while queries for N documents are written")
    parser.add_argument("--usual-batches", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        return child(options.child, options.fake_llm, None if options.usual_batches else BATCH_PROMPTS)
    run_test = compare_generated if options.generate else compare
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        return run_test(options, options.folder)
    with tempfile.TemporaryDirectory() as folder:
        return run_test(options, Path(folder))


def compare(options: argparse.Namespace, folder: Path) -> int:
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"_id": d.doc_id, "title": d.title, "text": d.text}) + "\n" for d in DOCS))
    asked_clean, asked_killed = folder / "asked-clean", folder / "asked-killed"

    started = time.monotonic()
    code, _ = run(options, corpus, folder / "clean", asked_clean)
    whole = time.monotonic() - started
    if code:
        print(f"kill test: the undisturbed run failed with {code}", file=sys.stderr)
        return 1

    draws = random.Random(options.seed)
    moments = [(kill + draws.random()) / options.kills * whole for kill in range(options.kills)]
    draws.shuffle(moments)
    kills: dict[str, int] = {}
    for moment in moments:
        code, stage = run(options, corpus, folder / "killed", asked_killed, kill_after=moment)
        if code == 0:  # it finished first: remove something for the next kill to interrupt
            take_away(folder / "killed", draws)
        elif code == -signal.SIGKILL:
            kills[stage] = kills.get(stage, 0) + 1
        else:
            print(f"kill test: a restarted run failed with {code} in {stage or 'its start'}", file=sys.stderr)
            return 1
    code, _ = run(options, corpus, folder / "killed", asked_killed)
    if code:
        print(f"kill test: the last run failed with {code}", file=sys.stderr)
        return 1

    clean, killed = contents(folder / "clean"), contents(folder / "killed")
    different = sorted(name for name in {*clean, *killed} if clean.get(name) != killed.get(name))
    prompts, answered = (n_asked(path) for path in (asked_clean, asked_killed))
    stored = [completions(folder / name) for name in ("clean", "killed")]
    where = ", ".join(f"{stage or 'start'} {count}" for stage, count in sorted(kills.items()))
    print(
        f"kill test: {'SAME BYTES' if not different else 'DIFFERENT BYTES'} in {len(clean)} files after "
        f"{sum(kills.values())} kills ({where}) of a run of {whole:.0f} s; completions computed: {answered} against "
        f"{prompts} in one clean pass, kept {stored[1]} against {stored[0]}"
    )
    for name in different:
        there = "only in the clean run" if name not in killed else "only in the killed run" if name not in clean else ""
        print(f"  {name} {there}".rstrip())
    lost_at_most = sum(kills.values()) * BATCH_PROMPTS
    return 1 if different or stored[0] != stored[1] or answered > prompts + lost_at_most else 0


def compare_generated(options: argparse.Namespace, folder: Path) -> int:
    from acclimate.corpus.collections import load
    from acclimate.corpus.formats import write_corpus

    docs = list(load("pydocs", folder / "pydocs").corpus.values())
    write_corpus(folder / "corpus.jsonl", docs[:: max(1, len(docs) // options.generate)][: options.generate])
    draws, kills, lost = random.Random(options.seed), 0, 0
    if generating(options, folder, "clean", None, 0.0):
        print("kill test: the undisturbed run failed", file=sys.stderr)
        return 1
    prompts = completions(folder / "clean")
    while kills < options.kills:
        code = generating(options, folder, "killed", draws.choice((1, 1, 2)), draws.uniform(0.0, 5.0))
        if code == 0:
            break
        kills += code == -signal.SIGKILL
    if generating(options, folder, "killed", None, 0.0):
        print("kill test: the last run failed", file=sys.stderr)
        return 1
    names = ("queries.jsonl", "rejects.jsonl")
    same = all(
        (folder / "clean/generate" / name).read_bytes() == (folder / "killed/generate" / name).read_bytes()
        for name in names
    )
    lost = n_asked(folder / "asked-killed") - n_asked(folder / "asked-clean")
    print(
        f"kill test: {'SAME BYTES' if same else 'DIFFERENT BYTES'} after {kills} kills while queries were written; "
        f"completions computed: {n_asked(folder / 'asked-killed')} against {n_asked(folder / 'asked-clean')} in one "
        f"clean pass, kept {completions(folder / 'killed')} against {prompts}; batches of at most 32"
    )
    return 0 if same and kills == options.kills and lost <= kills * 32 else 1


def generating(options: argparse.Namespace, folder: Path, name: str, kill_after: int | None, delay: float) -> int:
    """Run until queries are written, killed `delay` seconds after `kill_after` batches. Returns the exit code."""
    out = folder / name
    command = [sys.executable, __file__, *(["--fake-llm"] if options.fake_llm else []), "--usual-batches"]
    command += ["--child", "generate", str(out), "--corpus", str(folder / "corpus.jsonl"), "--max-doc-tokens", "128"]
    if options.fake_llm:
        command += ["--llm", "embedded:all-minilm-l6-v2"]
    env = {**os.environ, "ASKED": str(folder / f"asked-{name}"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    before = batches(folder / f"asked-{name}")
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        while process.poll() is None:
            if kill_after is not None and batches(folder / f"asked-{name}") - before >= kill_after:
                time.sleep(delay)
                process.kill()
            time.sleep(0.1)
    return process.returncode


def run(
    options: argparse.Namespace, corpus: Path, out: Path, journal: Path, kill_after: float | None = None
) -> tuple[int, str]:
    """(exit code, stage running when it was killed)."""
    changes = [*SETTINGS]
    if options.encoder:
        changes += [f"{name}={options.encoder}" for name in ("train.base", "distill.base")]
    if options.fake_llm:  # any weights, as only their fingerprint is used
        changes.append(f"generate.llm={options.encoder or 'embedded:all-minilm-l6-v2'}")
    command = [sys.executable, __file__, *(["--fake-llm"] if options.fake_llm else []), "--child", "adapt"]
    command += [str(corpus), "--out", str(out), *(part for change in changes for part in ("--set", change))]
    env = {**os.environ, "ASKED": str(journal), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (out.parent / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    begun = sorted(path.parent.name for path in out.glob("*/begun.json"))
    return process.returncode, begun[0] if begun else ""


class Journaled:
    """An LLM that records the number of prompts it answers."""

    def __init__(self, llm: LLM, seconds: float) -> None:
        self.llm, self.seconds = llm, seconds
        self.name, self.fingerprint, self.cut = llm.name, llm.fingerprint, llm.cut

    def decoding_as(self, decoding: Decoding) -> Journaled:
        return Journaled(self.llm.decoding_as(decoding), self.seconds)

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        with Path(os.environ["ASKED"]).open("a") as journal:
            journal.write(f"{len(prompts)}\n")
        time.sleep(self.seconds * len(prompts))
        return self.llm.complete(prompts)


def child(arguments: Sequence[str], fake_llm: bool, batch_prompts: int | None) -> int:
    """The command line, recording prompts, optionally with small batches."""
    import acclimate.llm
    from acclimate.base.testing import FakeLLM
    from acclimate.cli.main import main
    from acclimate.llm import completions

    completions.BATCH_PROMPTS = batch_prompts or completions.BATCH_PROMPTS
    load = acclimate.llm.load

    def journaled(name: str) -> Journaled:
        return Journaled(FakeLLM(), 0.05) if fake_llm else Journaled(load(name), 0.0)

    acclimate.llm.load = journaled  # type: ignore[assignment]
    return main(arguments)


def take_away(run_folder: Path, draws: random.Random) -> None:
    """Remove all stages after a drawn one, and that one's manifest, as if it was killed just before finishing."""
    manifests = [path for stage in STAGES if (path := run_folder / stage / "manifest.json").exists()]
    first = draws.randrange(len(manifests))
    key = json.loads(manifests[first].read_text())["fingerprint"]
    write_json(manifests[first].parent / "begun.json", {"key": key})
    manifests[first].unlink()
    for manifest in manifests[first + 1 :]:
        shutil.rmtree(manifest.parent)


def contents(run_folder: Path) -> Mapping[str, bytes]:
    """The content of every file without times. The HTML page is skipped, as it is made from report.json."""
    bytes_of: dict[str, bytes] = {}
    for path in sorted(run_folder.rglob("*")):
        name = path.relative_to(run_folder).as_posix()
        if (
            path.is_dir()
            or name.startswith(("completions.sqlite", "scores.sqlite"))
            or name in (".lock", "report.html")
        ):
            continue
        content = path.read_bytes()
        if path.suffix == ".json":
            content = CLOCKS.sub(rb'"\1": 0', content)
            content = re.sub(rb'"resumed": (true|false)', b"", content)
        if name == "evaluate/manifest.json":  # holds the hash and the size of measured.json, latencies included
            content = re.sub(rb'"measured.json": \{[^}]*\}', b"", content)
        bytes_of[name] = content
    return bytes_of


def n_asked(journal: Path) -> int:
    return sum(int(line) for line in journal.read_text().split()) if journal.exists() else 0


def batches(journal: Path) -> int:
    return len(journal.read_text().split()) if journal.exists() else 0


def completions(run_folder: Path) -> int:
    path = run_folder / "completions.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(path, timeout=60) as rows:
        if not rows.execute("SELECT count(*) FROM sqlite_master WHERE name = 'completions'").fetchone()[0]:
            return 0
        return rows.execute("SELECT count(*) FROM completions").fetchone()[0]


if __name__ == "__main__":
    sys.exit(main())
