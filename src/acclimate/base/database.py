"""Opens the SQLite cache files, and turns their errors into one line that names the file and the remedy."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from acclimate.base.errors import DataError

# The file itself may be fine where the disk is full, another process uses it, or this user may not write.
_TRANSIENT = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_LONGEST_PATH = 504  # bytes that SQLite opens
_DENIED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


def refuse_long_path(path: Path) -> None:
    """Raises DataError for a path that SQLite cannot open."""
    if (n_bytes := len(os.fsencode(os.path.realpath(path)))) > _LONGEST_PATH:
        raise DataError(
            f"its path has {n_bytes} bytes, of which SQLite takes {_LONGEST_PATH}; use a folder with a shorter one",
            path=path,
        )


def connected(path: Path, *, busy_seconds: float) -> sqlite3.Connection:
    """Open a file. In a folder that may not be written to it is only read: SQLite makes files beside one, even to read.

    busy_seconds: how long to wait for another process's write.
    """
    refuse_long_path(path)
    name = str(path)
    if path.is_file() and not os.access(path.parent, os.W_OK):
        has_log = path.with_name(f"{path.name}-wal").exists()  # then it may be changing
        name = f"{path.absolute().as_uri()}?{'mode=ro' if has_log else 'immutable=1'}"
    return sqlite3.connect(name, timeout=busy_seconds, isolation_level=None, uri=name != str(path))


def unusable(error: sqlite3.Error, path: Path) -> DataError:
    """The error for a file that could not be read or written."""
    if path.exists() and not path.is_file():
        return DataError("is not a file, so no answers can be stored in it; move it out of the way", path=path)
    what_to_do = "remove it, and its answers are requested again"
    if _code(error) in _TRANSIENT:
        what_to_do = "run the same command again to resume"
    if is_denied(error):
        what_to_do = "change its permissions and its folder's, or use another folder"
    return DataError(f"{error}; {what_to_do}", path=path)


def is_denied(error: sqlite3.Error) -> bool:
    """True if the file itself may be fine, but this user may not write to it or to its folder."""
    return _code(error) in _DENIED


def _code(error: sqlite3.Error) -> int:
    """The primary result code."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
