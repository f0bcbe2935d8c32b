"""A cache of expensive results in one SQLite file, shared by any number of processes.

Values are bytes with a checksum; a damaged value counts as missing. A cached value equals what would be computed again,
so results do not depend on the cache; an interrupted run loses what it had not put yet.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from zlib import crc32

from acclimate.base.database import refuse_long_path, unusable
from acclimate.base.digests import fingerprint
from acclimate.base.files import make_folder
from acclimate.base.version import __version__

_AT_ONCE = 500  # keys looked up by one statement


class ValueCache:
    """The cache, as a context manager; SQLite errors become one line that names the file."""

    def __init__(self, path: Path, maker: str = "") -> None:
        """maker: fingerprint of what computes the values. Values of another maker or acclimate version are removed."""
        self.path = path
        make_folder(path.parent)
        refuse_long_path(path)
        maker = fingerprint(__version__, maker)
        try:
            self._rows = sqlite3.connect(path, timeout=60.0, isolation_level=None)
            self._rows.execute("PRAGMA journal_mode=WAL")
            self._rows.execute("PRAGMA synchronous=NORMAL")  # a power failure may lose the last puts
            self._rows.execute("CREATE TABLE IF NOT EXISTS makers (maker TEXT PRIMARY KEY)")
            self._rows.execute("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB)")
            (state,) = self._rows.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise sqlite3.DatabaseError(state.replace("\n", " "))
            if self._rows.execute("SELECT maker FROM makers").fetchall() != [(maker,)]:
                self._rows.executescript("BEGIN IMMEDIATE; DELETE FROM kept; DELETE FROM makers; COMMIT")
                self._rows.execute("INSERT OR REPLACE INTO makers VALUES (?)", (maker,))
        except sqlite3.Error as error:
            raise unusable(error, path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._rows.close()
        if isinstance(error, sqlite3.Error):
            raise unusable(error, self.path) from error

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The cached values of these keys."""
        values: dict[str, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._rows.execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", some)
            values |= {key: value[4:] for key, value in rows if isinstance(value, bytes) and _is_whole(value)}
        return values

    def put(self, values: Mapping[str, bytes]) -> None:
        """Store all of these values, or none."""
        try:
            self._rows.execute("BEGIN IMMEDIATE")
            self._rows.executemany(
                "INSERT OR REPLACE INTO kept VALUES (?, ?)",
                [(key, _checksum(value) + value) for key, value in values.items()],
            )
            self._rows.execute("COMMIT")
        except sqlite3.Error as error:  # above all a full disk
            if self._rows.in_transaction:
                self._rows.execute("ROLLBACK")
            raise unusable(error, self.path) from None


def _checksum(value: bytes) -> bytes:
    return crc32(value).to_bytes(4, "little")


def _is_whole(kept: bytes) -> bool:
    return kept[:4] == _checksum(kept[4:])
