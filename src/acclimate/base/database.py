"""Turns errors of the SQLite cache files into one line that names the file and the remedy."""

from __future__ import annotations

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


def unusable(error: sqlite3.Error, path: Path) -> DataError:
    """The error for a file that could not be read or written."""
    if path.exists() and not path.is_file():
        return DataError("is not a file, so no answers can be stored in it; move it out of the way", path=path)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # the primary result code
    resume, remove = "run the same command again to resume", "remove it, and its answers are requested again"
    return DataError(f"{error}; {resume if code in _TRANSIENT else remove}", path=path)
