"""What took long to find or to rate, in one SQLite file that any number of processes may share.

Values are bytes by key, each with a checksum: one that the disk has changed is none. What is kept under a key is what
would come out if it were asked for again, so a run ends with the same bytes whatever was kept before; a killed one
loses what it had not put yet.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from zlib import crc32

from acclimate.base.database import unusable
from acclimate.base.digests import fingerprint
from acclimate.base.files import make_folder
from acclimate.base.version import __version__

_AT_ONCE = 500  # keys looked up by one statement


class KeptValues:
    """A context manager; SQLite's errors are one line that names the file."""

    def __init__(self, path: Path, maker: str = "") -> None:
        """maker: a fingerprint of who finds or rates. What another one kept is removed, as is what another version of
        acclimate did, which may have worked in another way.
        """
        self.path = path
        make_folder(path.parent)
        maker = fingerprint(__version__, maker)
        try:
            self._rows = sqlite3.connect(path, timeout=60.0, isolation_level=None)
            self._rows.execute("PRAGMA journal_mode=WAL")
            self._rows.execute("PRAGMA synchronous=NORMAL")  # the last puts may be lost with the machine's power
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
        """What is kept of these keys."""
        values: dict[str, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._rows.execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", some)
            values |= {key: value[4:] for key, value in rows if isinstance(value, bytes) and _is_whole(value)}
        return values

    def put(self, values: Mapping[str, bytes]) -> None:
        """Keep all of these, or none."""
        try:
            self._rows.execute("BEGIN IMMEDIATE")
            self._rows.executemany(
                "INSERT OR REPLACE INTO kept VALUES (?, ?)",
                [(key, _checksum(value) + value) for key, value in values.items()],
            )
            self._rows.execute("COMMIT")
        except sqlite3.Error as error:  # no room on the disk, above all
            if self._rows.in_transaction:
                self._rows.execute("ROLLBACK")
            raise unusable(error, self.path) from None


def _checksum(value: bytes) -> bytes:
    return crc32(value).to_bytes(4, "little")


def _is_whole(kept: bytes) -> bool:
    return kept[:4] == _checksum(kept[4:])
