"""What a run says of itself while it works and after, and who may work in a folder that machines share."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import acclimate
from acclimate.base.errors import AcclimateError, BudgetExceeded
from acclimate.base.progress import Progress, shown
from acclimate.cli.main import main
from acclimate.run import lease, status
from acclimate.run.output import Account
from acclimate.run.workspace import Workspace
from acclimate.stages import chain, runs


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder in which a run began."""
    with Workspace(tmp_path / "run").lock():
        (tmp_path / "run" / "kept").touch()
    return tmp_path / "run"


@contextmanager
def as_machine(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(lease, "machine", lambda: name)
        yield


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.4)


def test_every_stage_of_the_chain_has_a_line(run: Path):
    assert [stage.name for stage in acclimate.status(run).stages] == list(chain.STAGES)


def test_a_run_says_what_it_does_and_how_it_ended(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(status, "_EVERY_SECONDS", 0)
    with Workspace(run).lock(), shown(None), status.recording(run):
        Progress("generate", "queries")(3, 10)
        state = acclimate.status(run)
        assert (state.state, state.stage, state.done, state.total, state.unit) == (
            "works",
            "generate",
            3,
            10,
            "queries",
        )
        assert state.pid == os.getpid()
        assert "generate   3 of 10 queries" in str(state) and "index      -" in str(state)
    assert acclimate.status(run).state == "finished"


def test_the_time_left_is_that_of_its_pace_and_a_state_is_written_every_two_seconds(run, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with shown(None), status.recording(run):
        progress = Progress("generate", "queries")
        states = []
        for seconds, done in ((0.0, 0), (1.0, 10), (1.9, 15), (2.0, 20), (3.9, 30), (4.0, 40)):
            now[0] = 1000.0 + seconds
            progress(done, 100)
            states.append((status.read(run)["done"], status.read(run)["seconds_left"]))
        now[0] += 0.1
        Progress("filter", "queries")(5, 10)  # another stage is written at once, and its pace is not known yet
        states.append((status.read(run)["done"], status.read(run)["seconds_left"]))
    assert states == [(0, None), (0, None), (0, None), (20, 8.0), (20, 8.0), (40, 6.0), (5, None)]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (AcclimateError("no such thing"), "failed"),
        (BudgetExceeded("enough"), "stopped"),
        (KeyboardInterrupt(), "stopped"),
        (ValueError("a fault of ours"), "failed"),
    ],
)
def test_an_end_before_the_end_is_told_with_its_reason(run: Path, error: BaseException, state: str):
    with pytest.raises(type(error)), Workspace(run).lock(), status.recording(run):
        raise error
    ended = acclimate.status(run)
    assert ended.state == state
    assert (str(error) or "interrupted") in ended.message


def test_a_killed_run_is_told_from_one_at_work(run: Path):
    process = os.fork()
    if not process:
        with Workspace(run).lock(), status.recording(run):
            (run / "begun").touch()
            time.sleep(60)
        os._exit(1)
    try:
        while not (run / "begun").exists():
            time.sleep(0.01)
        assert acclimate.status(run).state == "works"
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    assert acclimate.status(run).state == "killed"
    with Workspace(run).lock(), status.recording(run):  # what it left is in nobody's way
        pass
    assert acclimate.status(run).state == "finished"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (BudgetExceeded, "stopped"),
        (AcclimateError, "failed"),
        (KeyboardInterrupt, "stopped"),
        (ZeroDivisionError, "failed"),
    ],
)
def test_how_a_run_ended_is_said_without_secrets(run: Path, error: type[BaseException], state: str):
    with pytest.raises(error), status.recording(run):
        raise error("no answer of https://user:secret@host/v1")
    ended = status.read(run)
    assert ended is not None and ended["state"] == state
    assert "secret" not in (run / status.NAME).read_text()
    assert error is KeyboardInterrupt or "host/v1" in ended["message"]


def test_the_log_has_what_was_said_with_its_time_and_without_secrets(run: Path):
    logger = logging.getLogger("acclimate")
    for text in ("index  one\nline", "asks https://user:secret@host/v1"):
        with Workspace(run).lock(), status.recording(run):
            logger.warning(text)
    logger.warning("outside of a run")
    first, second = (run / "run.log").read_text().splitlines()
    assert first.endswith("Z index  one line") and "secret" not in second and "host/v1" in second


def test_the_command_says_it_for_people_and_programs(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["status", str(finished)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{finished}: finished") and "evaluate   read" in lines[-1]
    assert main(["status", str(finished), "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert state["state"] == "finished" and state["stages"][0]["state"] == "made"
    assert main(["status", str(tmp_path)]) == 2
    assert "no run here" in capsys.readouterr().err
    assert main(["status", str(finished / "index")]) == 2
    assert (
        capsys.readouterr().err == f"acclimate: {finished / 'index'}: is inside the run {finished}; name that folder\n"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: shutil.rmtree(run / "evaluate"), "the stage evaluate is not made yet"),
        (lambda run: shutil.rmtree(run / "label"), "the stage label is not made yet"),
        (lambda run: shutil.copytree(run / "sample", run / "filter", dirs_exist_ok=True), "other files of the stage"),
        (lambda run: shutil.rmtree(run / "seed", ignore_errors=True), ""),  # nothing reads it
    ],
)
def test_a_finished_command_is_told_from_a_finished_run(copied: Path, change, message: str):
    change(copied)
    state = acclimate.status(copied)
    assert state.state == "finished" and message in state.message
    assert state.message.endswith(f"go on with: acclimate evaluate {copied}") == bool(message)
    first = "the last command finished, the run did not (" if message else "finished ("
    assert str(state).startswith(f"{copied}: {first}")


def test_what_somebody_else_wrote_as_a_status_is_none(run: Path):
    with Workspace(run).lock(), status.recording(run):
        pass
    whole = json.loads((run / "status.json").read_text())
    strange = [{**whole, name: value} for name in status._FIELDS for value in ([], {"a": 1}, 1.5, "\x1b[31m", None)]
    rows = [row for row in strange if not all(isinstance(row[name], status._FIELDS[name]) for name in row)]
    rows += [{key: value for key, value in whole.items() if key != name} for name in status._FIELDS]
    rows += [{**whole, "state": "at ease"}, {**whole, "seconds_left": float("nan")}]
    for content in ("[]", "{}", "no JSON", "\xff", *map(json.dumps, rows)):
        (run / "status.json").write_text(content, encoding="latin-1")
        assert acclimate.status(run).state == "", content
    (run / "status.json").write_text(
        json.dumps({**whole, "state": "works", "stage": "index", "total": 9, "unit": "\x1b[31mx"})
    )
    assert "\x1b" not in str(acclimate.status(run))


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("gone", ["run", "run/index"])
def test_what_is_removed_while_a_run_works_is_said_and_does_not_come_back(run: Path, gone: str):
    workspace = Workspace(run)

    def work(folder: Path, progress: Progress) -> Account:
        shutil.rmtree(run.parent / gone)
        time.sleep(2 * lease.BEAT_SECONDS)
        progress(1, 2)
        (folder / "vectors").stat()
        return Account()

    with pytest.raises(AcclimateError, match=r"moved or removed while this was running"), workspace.lock():
        workspace.make("index", work, settings={}, inputs={}, seed=0)
    assert not (run.parent / gone).exists()


@pytest.mark.usefixtures("hurried")
def test_two_machines_do_not_work_in_one_folder(run: Path, monkeypatch: pytest.MonkeyPatch):
    """The other machine's lock is not seen here: its sign of life is."""
    in_use = pytest.raises(AcclimateError, match=f"in use by process {os.getpid()} on")
    with lease.Lease(run).held(), as_machine("another", monkeypatch), in_use, lease.Lease(run).held():
        pass
    with as_machine("another", monkeypatch), lease.Lease(run).held():  # which is over now
        pass
    assert not (run / lease.NAME).exists()


@pytest.mark.usefixtures("hurried")
def test_a_folder_is_taken_over_from_a_machine_that_gives_no_sign(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "acclimate")
    with lease.Lease(run).held():
        shutil.copy(run / lease.NAME, run / "left")
    (run / "left").rename(run / lease.NAME)  # as a machine that lost its power leaves it
    with as_machine("another", monkeypatch):
        started = time.monotonic()
        with Workspace(run).lock():
            assert time.monotonic() - started >= lease.PATIENCE_SECONDS
    assert f"for a sign of process {os.getpid()} on" in caplog.text
    started = time.monotonic()
    with lease.Lease(run).held():  # one of this machine that was killed needs no waiting: its lock is gone
        pass
    assert time.monotonic() - started < lease.PATIENCE_SECONDS


@pytest.mark.usefixtures("hurried")
def test_who_was_asleep_and_lost_the_folder_stops_and_leaves_it_alone(run: Path, monkeypatch: pytest.MonkeyPatch):
    sleeper = Workspace(run)
    asleep, awake = threading.Event(), threading.Event()
    beat = sleeper.lease._beat

    def sleepy() -> None:
        if threading.current_thread().name == "lease":
            asleep.set()
            awake.wait(5)
            return
        beat()

    monkeypatch.setattr(sleeper.lease, "_beat", sleepy)
    with sleeper.lease.held():
        asleep.wait(5)
        with as_machine("another", monkeypatch), lease.Lease(run).held():
            awake.set()
            deadline = time.monotonic() + 5
            while sleeper.lease._successor is None and time.monotonic() < deadline:
                time.sleep(0.01)
            with pytest.raises(AcclimateError, match="was taken over by"):
                Progress("index", "documents", sleeper.lease.check)(1, 2)
        (run / lease.NAME).write_text("another's")
    assert (run / lease.NAME).read_text() == "another's"


@pytest.mark.parametrize(("host", "seconds", "works"), [("another", 0, True), ("another", 9, False), ("", 0, False)])
def test_another_machine_is_at_work_while_it_gives_signs(
    host: str, seconds: int, works: bool, run: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of this machine, only the lock counts: a process that was killed leaves its lease."""
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 5.0)
    holder = {"host": host, "machine": host or lease.machine(), "pid": os.getpid(), "token": "", "beats": 1}
    (run / lease.NAME).write_text(json.dumps(holder))
    last = time.time() - seconds
    os.utime(run / lease.NAME, (last, last))
    assert Workspace(run).is_at_work() is works
    assert runs._is_being_made(run) is works
