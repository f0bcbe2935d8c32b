"""What a container, a batch queue or a service manager allows this process: cores and memory.

A quota of CPU time hides no core: a container that may use 2 of 64 sees all of them, and so does every library that
starts a thread per core; those threads wait for each other most of the time. Limits are read from Linux's cgroups,
version 1 and 2; other systems have none.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

THREADS = "OMP_NUM_THREADS"  # read by torch, NumPy, Arrow, faiss and ONNX when they are loaded


def usable_cores(root: Path = Path("/")) -> int:
    """How many cores this process may use: those it is bound to, or its quota, rounded up. root: of the file system."""
    return min(_bound_cores(), _quota(root))


def usable_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that this process may use: the machine's, or its limit."""
    limits = [*_read("memory", root, "memory.max"), *_read("memory", root, "memory.limit_in_bytes")]
    return min([memory(), *(int(limit) for (limit,) in limits if limit.isdecimal())])  # not `max`


def memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def limit_threads(root: Path = Path("/")) -> None:
    """Make libraries that are loaded later start no more threads than a quota allows, unless OMP_NUM_THREADS is set.

    Without a quota they choose well: they count only the cores that the process is bound to.
    """
    if (quota := _quota(root)) < _bound_cores():
        os.environ.setdefault(THREADS, str(quota))


def _bound_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota(root: Path) -> int:
    """The lowest quota of CPU time, in cores; the number of all cores if there is none."""
    pairs = [text.split() for (text,) in _read("cpu", root, "cpu.max")]
    pairs += _read("cpu", root, "cpu.cfs_quota_us", "cpu.cfs_period_us")
    quotas = [int(quota) / int(period) for quota, period in pairs if quota.isdecimal()]  # not `max` or `-1`
    return min([os.cpu_count() or 1, *(max(1, math.ceil(quota)) for quota in quotas)])


def _read(controller: str, root: Path, *names: str) -> Iterator[list[str]]:
    """The content of files with limits, of this process's group and of each one around it that has them."""
    for folder in _folders(controller, root):
        with suppress(OSError, UnicodeDecodeError):
            yield [(folder / name).read_text(encoding="ascii").strip() for name in names]


def _folders(controller: str, root: Path) -> Iterator[Path]:
    """Folders of this process's groups, from the inside out. A container shows its own group as the outermost one."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:  # such as 0::/system.slice/job.service or, in version 1, 4:cpu,cpuacct:/docker/1f3a
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        mounted, inside = root / "sys/fs/cgroup" / (controller if controllers else ""), PurePosixPath(group.lstrip("/"))
        yield from (mounted / part for part in (inside, *inside.parents) if ".." not in part.parts)
