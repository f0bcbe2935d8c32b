"""Give memory back to the system that a stage has freed.

glibc keeps it, in up to eight arenas per core, each for some threads. Where threads make and free tensors of many sizes
it is soon in pieces that nothing fits into: after half an hour of training, two thirds of a process was free memory.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


@contextmanager
def releasing() -> Iterator[None]:
    """A context after which nothing holds memory that it has freed, on a GPU either.

    From the first one on, threads of the process share one arena per core, unless MALLOC_ARENA_MAX is set.
    """
    _share_arenas()
    yield
    if _has("malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)
    if "torch" in sys.modules:  # do not import it just for this
        from acclimate.base.gpu import free_gpu_memory

        free_gpu_memory()


@cache
def _share_arenas() -> None:
    if _has("mallopt") and "MALLOC_ARENA_MAX" not in os.environ:
        ctypes.CDLL(None).mallopt(_ARENA_MAX, len(os.sched_getaffinity(0)))


def _has(function: str) -> bool:
    """True with glibc, for functions that other C libraries lack."""
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), function)
