"""What surrounds a process: its interpreter, and the other processes of its run, which it may have to wait for."""

from __future__ import annotations

import signal
import time
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from acclimate.base import distributed
from acclimate.base.errors import SettingError
from acclimate.cli import shell


@pytest.mark.parametrize(("rank", "size"), [("3", None), ("3", "1"), ("x", ""), ("", "many"), ("0", "1"), ("-1", "-1")])
def test_a_number_that_a_batch_system_gives_makes_no_process_a_helper(monkeypatch, rank, size):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.delenv("WORLD_SIZE", raising=False) if size is None else monkeypatch.setenv("WORLD_SIZE", size)
    assert (distributed.rank(), distributed.size(), distributed.is_main()) == (0, 1, True)
    assert distributed.broadcast("value") == "value"


def test_a_number_that_no_process_of_the_run_has_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "2")
    for check in (shell.check_surroundings, distributed.take_gpu):
        with pytest.raises(SettingError, match="RANK is 2 and WORLD_SIZE is 2; expected a RANK from 0 to 1"):
            check()


def test_an_interpreter_without_docstrings_is_refused(monkeypatch):
    optimized = SimpleNamespace(flags=SimpleNamespace(optimize=2), getfilesystemencoding=lambda: "utf-8")
    monkeypatch.setattr(shell, "sys", optimized)
    with pytest.raises(SettingError, match="unset PYTHONOPTIMIZE"):
        shell.check_surroundings()


def test_several_processes_without_an_address_are_told_how_to_start(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match="WORLD_SIZE is 2 without MASTER_ADDR; start with torchrun"):
        distributed.broadcast("value")


def test_a_process_that_waits_for_others_says_so_and_ends_by_any_signal(monkeypatch, caplog):
    caplog.set_level("INFO", "acclimate")
    for name, value in {"WORLD_SIZE": "3", "RANK": "1", "MASTER_ADDR": "h", "MASTER_PORT": "9"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "_PATIENCE", 0)
    while_waiting = []

    def wait(*_, **__):
        while_waiting.append(signal.getsignal(signal.SIGINT))
        while not caplog.messages:
            time.sleep(0.001)

    monkeypatch.setattr(torch.distributed, "init_process_group", wait)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of a shell begins without it
    try:
        distributed.join()
        assert (while_waiting, signal.getsignal(signal.SIGINT)) == ([signal.SIG_DFL], signal.default_int_handler)
    finally:
        signal.signal(signal.SIGINT, before)
    assert caplog.messages == ["process 2 of 3 waits at h:9 for the others; start them, or unset WORLD_SIZE"]
