"""Opens the SQLite cache files, and turns their errors into one line that names the file and the remedy."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from acclimate.base.errors import DataError

_TRANSIENT = {  # the file itself may be fine: disk full, no permission, used by another process
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
}


def connected(path: Path, *, busy_seconds: float) -> sqlite3.Connection:
    """Open a file. In a folder that may not be written to it is only read: SQLite makes files beside one, even to read.

    busy_seconds: how long to wait for another process's write.
    """
    name = str(path)
    if path.is_file() and not os.access(path.parent, os.W_OK):
        has_log = path.with_name(f"{path.name}-wal").exists()  # then it may be changing
        name = f"{path.absolute().as_uri()}?{'mode=ro' if has_log else 'immutable=1'}"
    return sqlite3.connect(name, timeout=busy_seconds, isolation_level=None, uri=name != str(path))


def unusable(error: sqlite3.Error, path: Path) -> DataError:
    """The error for a file that could not be read or written."""
    if path.exists() and not path.is_file():
        return DataError("is not a file, so no answers can be stored in it; move it out of the way", path=path)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # the primary result code
    resume, remove = "run the same command again to resume", "remove it, and its answers are requested again"
    return DataError(f"{error}; {resume if code in _TRANSIENT else remove}", path=path)
