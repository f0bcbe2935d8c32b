"""A run's folder has one who works in it at a time, in whatever process or thread, and is a run's from then on."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from staged import Stage, make

import acclimate
from acclimate.base import distributed, locks
from acclimate.base.errors import AcclimateError, DataError
from acclimate.cli.shell import log_on_stderr
from acclimate.run.lease import Lease
from acclimate.run.workspace import Workspace


@pytest.fixture(autouse=True)
def as_a_command():
    """What is said is on stderr."""
    with log_on_stderr():
        yield


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "run")


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_a_lock_that_is_no_file_is_said_and_not_waited_for(tmp_path, kind):
    os.mkfifo(tmp_path / ".lock") if kind == "pipe" else (tmp_path / ".lock").mkdir()
    with pytest.raises(AcclimateError, match="lock: expected a file"), Workspace(tmp_path).lock():
        pass


def test_a_mistake_leaves_none_of_the_folders_that_were_made_for_it(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(AcclimateError, match="mistyped"), Workspace(tmp_path / "there" / "new" / "run").lock():
        raise AcclimateError("mistyped")
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_a_folder_is_a_run_s_from_the_lock_on(tmp_path):
    (tmp_path / ".lock").write_text("")  # killed before a word was written
    for _ in range(2):
        Workspace(tmp_path).refuse_foreign()
        with Workspace(tmp_path).lock():
            (tmp_path / "corpus").mkdir(exist_ok=True)


def test_a_folder_is_a_run_s_before_any_file_but_the_lock_is_in_it(workspace, monkeypatch):
    """Another command may come at any moment, and would call the folder somebody's."""
    beat = Lease._beat

    def look(lease):
        beat(lease)
        Workspace(workspace.folder).refuse_foreign()

    monkeypatch.setattr(Lease, "_beat", look)
    with workspace.lock():
        pass


@pytest.mark.parametrize("moves", [False, True])
def test_a_folder_that_is_gone_while_a_process_works_in_it_stops_that_process(tmp_path, moves):
    (tmp_path / "run").mkdir()
    lease = Lease(tmp_path / "run")
    with lease.held():
        lease.check()
        (tmp_path / "run").rename(tmp_path / "moved")
        with pytest.raises(AcclimateError, match="run no longer exists; it was moved or removed"):
            lease.check()
        if not moves:
            (tmp_path / "moved").rename(tmp_path / "run")
            lease.check()
    assert (tmp_path / ("moved" if moves else "run") / ".lease").exists() == moves


def test_a_lock_makes_no_folder_a_run_s(tmp_path):
    (tmp_path / ".mine.part").write_text("")
    with Workspace(tmp_path).lock():
        assert (tmp_path / ".mine.part").exists()
    with pytest.raises(AcclimateError, match="holds no run"):
        Workspace(tmp_path).refuse_foreign()


def test_a_killed_process_leaves_an_unfinished_stage(workspace):
    code = f"""
import os, signal
from pathlib import Path
from acclimate.run.workspace import Workspace
def work(folder, progress):
    (folder / "part.txt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
with Workspace(Path({str(workspace.folder)!r})).lock():
    Workspace(Path({str(workspace.folder)!r})).make(
        "filter", work, settings={{"k": 3, "names": ("a", "b")}}, inputs={{"documents": "f00"}}, seed=0
    )
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == -9
    work = Stage()
    with workspace.lock():  # the lock went with the process
        assert not make(workspace, work).resumed
    assert work.found == ["part.txt"]


def test_two_at_once_are_kept_apart(workspace):
    code = f"""
import sys
from pathlib import Path
from acclimate.base.errors import AcclimateError
from acclimate.run.workspace import Workspace
try:
    with Workspace(Path({str(workspace.folder)!r})).lock():
        pass
except AcclimateError as error:
    sys.exit(str(error))
"""
    with workspace.lock():
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "is in use by another acclimate" in other.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_of_the_threads_of_a_process_one_works_at_a_time(tmp_path):
    at_work = []

    def work(number):
        with Workspace(tmp_path / str(number % 2)).lock():
            at_work.append(number)
            time.sleep(0.01)
            assert at_work.pop() == number and not at_work

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, range(6))) == [None] * 6


def test_who_looks_on_is_in_nobody_s_way(workspace):
    """Looking takes the lock for an instant: whoever comes then waits that long."""
    with workspace.lock():
        (workspace.folder / "kept").touch()
    with (workspace.folder / ".lock").open() as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        threading.Timer(0.02, fcntl.flock, (handle, fcntl.LOCK_UN)).start()
        with workspace.lock():
            assert workspace.is_at_work()
    assert not workspace.is_at_work()


def test_a_file_system_without_locks_is_said_and_not_waited_for(workspace, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(DataError, match="cannot lock files here: No locks available; choose"), workspace.lock():
        pass


def test_a_system_without_file_locks_is_refused_in_a_line(workspace, monkeypatch):
    assert locks.are_available()
    monkeypatch.setattr(locks, "fcntl", None)
    with pytest.raises(AcclimateError, match=r"this operating system has no file locks.*within WSL"), workspace.lock():
        pass
    assert not workspace.folder.exists()
    assert not workspace.is_at_work()
    (check,) = (check for check in acclimate.doctor() if check.what.startswith("file locks"))
    assert not check.well and "wsl" in check.command


def test_what_can_hold_no_folder_is_no_workspace(tmp_path):
    (tmp_path / "run").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name, what in {"run": "a file", "link": "a broken link", "pipe": "no file and no folder"}.items():
        for path in (tmp_path / name, tmp_path / name / "below" / "it"):
            with pytest.raises(AcclimateError, match=rf"/{name} is {what}; expected the folder of a run"):
                Workspace(path)


def test_a_run_that_made_nothing_leaves_no_folder(tmp_path):
    space = Workspace(tmp_path / "new")
    with pytest.raises(ValueError), space.lock():
        raise ValueError
    assert not space.folder.exists()
    with space.lock():
        (space.folder / "run.json").write_text("{}")
    assert sorted(path.name for path in space.folder.iterdir()) == [".lock", "run.json"]
    (tmp_path / "mine").mkdir()
    with Workspace(tmp_path / "mine").lock():
        pass
    assert (tmp_path / "mine").exists()


def test_of_several_processes_one_says_what_happens(monkeypatch, caplog):
    caplog.set_level("INFO", "acclimate")
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in ("0", "1", "2"):
        monkeypatch.setenv("RANK", rank)
        distributed.say("label", "odd\x1b[31m\nlines")
        distributed.warn("label", "odd")
    assert [record.getMessage() for record in caplog.records] == ["label      odd[31m lines", "label      warning: odd"]
