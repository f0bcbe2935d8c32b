"""Running commands and measuring their wall-clock time, CPU time and peak memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

OUTPUT = "output.txt"
WATCH = """
import json, resource, subprocess, sys, time
start = time.monotonic()
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump([time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024], file)
sys.exit(code)
"""  # run by a small process, because a forked child's peak memory includes its parent's


class Usage(NamedTuple):
    """Cost of a process."""

    seconds: float
    cpu_seconds: float
    megabytes: float  # at most

    def against(self, usage: Usage) -> str:
        return (
            f"{self.seconds:.1f} s, {self.cpu_seconds:.1f} s of CPU, {self.megabytes:,.0f} MB against "
            f"{usage.seconds:.1f} s, {usage.cpu_seconds:.1f} s, {usage.megabytes:,.0f} MB"
        )


def used(command: Sequence[str], folder: Path) -> Usage:
    """Run a command in the folder, with its output in OUTPUT. Raises RuntimeError if it fails."""
    log, usage = folder / "log.txt", folder / "usage.json"
    watched = [sys.executable, "-c", WATCH, str(usage), *command]
    with (folder / OUTPUT).open("w", encoding="utf-8") as output, log.open("w", encoding="utf-8") as errors:
        code = subprocess.run(watched, cwd=folder, stdout=output, stderr=errors).returncode
    if code:
        raise RuntimeError(f"{' '.join(command)[-300:]}\n{log.read_text(encoding='utf-8')[-3000:]}")
    return Usage(*json.loads(usage.read_text(encoding="utf-8")))


def killed_after(command: Sequence[str], folder: Path, seconds: float) -> None:
    """Start a command and kill it after `seconds`."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
