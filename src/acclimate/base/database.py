"""SQLite files that keep what was asked for: their errors as one line that names the file and what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from acclimate.base.errors import DataError

_PASSING = {  # what says nothing of the file's content: no room, no permission, somebody else at work
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
        return DataError("is no file, so no answers can be kept in it; move it out of the way", path=path)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # the rest says where exactly
    remedy = "the same command goes on" if code in _PASSING else "remove it, and what it kept is asked for again"
    return DataError(f"{error}; {remedy}", path=path)
