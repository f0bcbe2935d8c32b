"""Signals: every interrupt ends a command as an interrupt, whatever it met."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import acclimate
from acclimate.base import signals
from acclimate.run import status
from acclimate.run.workspace import Workspace


def test_a_program_that_is_started_without_signals_is_not_stopped_by_them():
    script = """
import os, signal, subprocess, sys
from acclimate.base import signals

def main():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    return 0

if sys.argv[1:]:
    signals.run(main)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.exit(subprocess.run([sys.executable, "-c", os.environ["SCRIPT"], "again"]).returncode)
"""
    environment = {**os.environ, "SCRIPT": script}
    assert subprocess.run([sys.executable, "-c", script], env=environment).returncode == 0


def test_an_interrupt_is_not_hidden_by_the_lock_that_a_second_signal_left_free(tmp_path: Path):
    def interrupted_twice() -> None:
        """As `threading.Event.wait`, when a signal comes while the lock is taken again because of the first."""
        with (lock := threading.Lock()):
            try:
                raise signals.Terminated(signal.SIGTERM)
            finally:
                lock.release()

    with pytest.raises(signals.Terminated), Workspace(tmp_path).lock(), status.recording(tmp_path):
        interrupted_twice()
    assert acclimate.status(tmp_path).state == "stopped"
