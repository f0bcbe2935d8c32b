"""Locks on files, so that one process at a time works in a folder; they end with the process that holds them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import IO

from acclimate.base.errors import AcclimateError, DataError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TRIES, _BETWEEN_TRIES = 10, 0.01  # seconds


def are_available() -> bool:
    """True on operating systems that have such locks: Linux and macOS."""
    return fcntl is not None


def check() -> None:
    """Raises AcclimateError on an operating system without such locks."""
    if fcntl is None:
        raise AcclimateError(
            "this operating system has no file locks, without which two commands could write to one folder; run "
            "acclimate on Linux or macOS, on Windows within WSL (wsl --install)"
        )


def lock(handle: IO[str]) -> bool:
    """Try to lock an open file; True once this process holds the lock. Retries, as `is_locked` holds it for an instant.

    Raises DataError on a file system without locks, AcclimateError on an operating system without them.
    """
    check()
    assert fcntl is not None
    for _ in range(_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_BETWEEN_TRIES)
        except OSError as error:
            raise DataError(
                f"cannot lock files here: {error.strerror}; choose a folder elsewhere", path=handle.name
            ) from None
    return False


def is_locked(path: Path) -> bool:
    """True while another process holds the lock of an existing file; False where no lock is possible."""
    if fcntl is None:
        return False
    with path.open(encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False
