"""A command's streams may be closed, full or read by nobody: results are results, and no message stops work."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

_SAY = """
import contextlib, os, sys
from acclimate.base import streams

streams.prepare()
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
for line in range(3):
    print("said", line, file=sys.stderr)
with contextlib.suppress(OSError):
    os.write(2, b"said by a library")
print(sys.stdin.read(), end="")
print("a result")
"""


def said(tmp_path, redirected: str, **streams) -> subprocess.CompletedProcess[str]:
    """A program that writes a message to stderr and a result to stdout, started by a shell with some redirections."""
    command = f'"$0" -c "$1" "$2" {redirected}'
    words = ["sh", "-c", command, sys.executable, _SAY, str(tmp_path / "file")]
    return subprocess.run(words, text=True, **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **streams})


@pytest.mark.parametrize("redirected", ["2>&-", "<&- 2>&-", "2>/dev/full", "<&- 2>/dev/full"])
def test_stdout_has_the_results_alone_whatever_became_of_stderr(tmp_path, redirected):
    done = said(tmp_path, redirected)
    assert (done.returncode, done.stdout) == (0, "a result\n")
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("redirected", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_what_is_closed_is_no_failure_and_no_file_takes_its_place(tmp_path, redirected):
    done = said(tmp_path, redirected, stderr=subprocess.PIPE)
    assert done.returncode == 0
    assert (tmp_path / "file").read_bytes() == b""
    assert done.stderr == ("" if "2>" in redirected else "said 0\nsaid 1\nsaid 2\nsaid by a library")


@pytest.mark.parametrize("kind", [os.pipe, pty.openpty])
def test_who_stops_reading_the_log_stops_no_work(tmp_path, kind):
    reading, writing = kind()
    os.close(reading)
    with os.fdopen(writing, "w") as stderr:
        done = said(tmp_path, "", stderr=stderr)
        assert (done.returncode, done.stdout) == (0, "a result\n")
        mistake = [sys.executable, "-m", "acclimate", "report", "nowhere"]
        assert subprocess.run(mistake, stderr=stderr).returncode == 2
