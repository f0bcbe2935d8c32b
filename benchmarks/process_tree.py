"""The process tree of this process, including Ray's workers, and its CPU seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def workers() -> Iterator[int]:
    """Process ids of Ray's actors."""
    for pid in processes():
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::_Actor"):
                yield pid


def processes() -> Iterator[int]:
    """Ids of this process and all its descendants."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(fields(path)[1])
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    yield from ours


def cpu_seconds() -> float:
    """CPU seconds of the process tree, including ended processes that were waited for."""
    ticks = 0
    for pid in processes():
        with suppress(OSError):
            ticks += sum(map(int, fields(Path(f"/proc/{pid}/stat"))[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def fields(stat: Path) -> list[str]:
    """The fields of /proc/PID/stat after the process name."""
    return stat.read_text().rpartition(")")[2].split()
