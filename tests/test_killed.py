"""Runs that end in the middle: killed, interrupted, terminated. What is made is kept, and the same command goes on."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

import processes
import pytest
from chain import SMALL, STAGES, CountingLLM, contents, fake_answers, report_of, tiny_models

import acclimate.llm
from acclimate.llm import completions
from acclimate.run.workspace import Workspace

BATCH_PROMPTS = 4  # a small corpus is one batch of 32 else, and a kill would always lose all of it


def arguments(corpus: Path, out: Path, encoder: Path) -> list[str]:
    sets = [part for change in (*SMALL, *tiny_models(encoder)) for part in ("--set", change)]
    return ["adapt", str(corpus), "--out", str(out), *sets]


def killed_in(stage: str, seconds: float, journal: Path, command: list[str]) -> None:
    """Run the command; so many seconds into this stage, or at the latest before its manifest, SIGKILL."""
    from acclimate.cli.main import main

    make, complete = Workspace.make, CountingLLM.complete

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def made(self, name, run, **options):
        def doomed(folder, progress):
            threading.Timer(seconds, kill).start()
            run(folder, progress)
            kill()

        return make(self, name, doomed if name == stage else run, **options)

    def journaled(self, prompts):
        with journal.open("a") as lines:
            lines.writelines(f"{prompt!r}\n" for prompt in prompts)
        return complete(self, prompts)

    Workspace.make, CountingLLM.complete, completions.BATCH_PROMPTS = made, journaled, BATCH_PROMPTS
    with fake_answers():
        sys.exit(main(command))


@pytest.mark.slow
def test_a_run_killed_in_every_stage_ends_with_the_bytes_of_one_left_alone(corpus, finished, tiny_encoder, tmp_path):
    out, log, journal = tmp_path / "run", tmp_path / "log", tmp_path / "asked"
    command, draws = arguments(corpus, out, tiny_encoder), random.Random(5)
    for stage, row in zip(STAGES, report_of(finished)["stages"], strict=True):
        moment = draws.random() * row["seconds"]
        process = processes.start(killed_in, stage, moment, journal, command, log=log)
        assert processes.end(process) == -signal.SIGKILL, log.read_text()
        assert (out / stage / "begun.json").exists()
        assert not (out / stage / "manifest.json").exists()
        for model in [*(out / stage).rglob("*.safetensors")]:  # safetensors is killed as it saves, too
            saving = model.parent.with_name(f".{model.parent.name}.1.part")
            saving.mkdir(exist_ok=True)
            (saving / ".tmpAbC123").write_bytes(b"half")
    assert processes.end(processes.start(killed_in, "none", 0, journal, command, log=log)) == 0, log.read_text()
    whole, resumed = contents(finished), contents(out)
    assert [name for name in {*whole, *resumed} if whole.get(name) != resumed.get(name)] == []
    counts = []
    for run in (finished, out):
        with sqlite3.connect(run / "completions.sqlite") as rows:
            counts += rows.execute("SELECT count(*) FROM completions").fetchone()
    asked = journal.read_text().splitlines()
    assert counts == [len(set(asked))] * 2
    assert len(asked) <= len(set(asked)) + BATCH_PROMPTS  # a kill may cost the batch at hand


def slow_run(command: list[str]) -> None:
    """The command, with an LLM that never answers, computing in steps as all do."""
    from acclimate.__main__ import entry

    class Slow(CountingLLM):
        def complete(self, prompts):
            print("asking", file=sys.stderr)
            while True:
                time.sleep(0.05)

    acclimate.llm.load = lambda name, **_: Slow()  # pyright: ignore[reportAttributeAccessIssue]
    sys.argv = ["acclimate", *command]
    entry()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_stops_a_run_and_the_same_command_goes_on(number, code, said, corpus, tiny_encoder, tmp_path):
    out, log = tmp_path / "run", tmp_path / "log"
    process = processes.start(slow_run, arguments(corpus, out, tiny_encoder), log=log)
    until = time.monotonic() + 300
    while "asking\n" not in log.read_text() and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, number)
    assert processes.end(process) == code, log.read_text()
    written = log.read_text()
    assert "Traceback" not in written
    assert written.endswith(f"acclimate: {said}; completed work is kept; run the same command again to resume\n")
    assert Path(f"{log}.out").read_text() == ""
    assert (out / "index" / "manifest.json").exists()
