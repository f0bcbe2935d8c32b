"""Users' feedback: grades, preferences and clicks, committed to an SQLite file immediately."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from acclimate.base.database import is_denied, refuse_long_path
from acclimate.base.errors import DataError

FILE = "feedback.sqlite"
_VERSION = 1
_BUSY_SECONDS = 5.0
_TABLES = """
CREATE TABLE grades (id INTEGER PRIMARY KEY, time TEXT NOT NULL, rater TEXT NOT NULL, query TEXT NOT NULL,
                     doc_id TEXT NOT NULL, grade INTEGER NOT NULL CHECK (grade BETWEEN 0 AND 3));
CREATE INDEX grades_by_query ON grades (query, doc_id);
CREATE TABLE preferences (id INTEGER PRIMARY KEY, time TEXT NOT NULL, rater TEXT NOT NULL, query TEXT NOT NULL,
                          left_system TEXT NOT NULL, right_system TEXT NOT NULL, preference TEXT NOT NULL
                          CHECK (preference IN ('left', 'right', 'same')),
                          blind INTEGER NOT NULL, seed INTEGER NOT NULL);
CREATE TABLE clicks (id INTEGER PRIMARY KEY, time TEXT NOT NULL, rater TEXT NOT NULL, query TEXT NOT NULL,
                     doc_id TEXT NOT NULL, system TEXT NOT NULL, rank INTEGER NOT NULL);
"""


class Grade(NamedTuple):
    """How well a document answers a query: 0 not at all, 1 related, 2 in part, 3 fully."""

    query: str
    doc_id: str
    grade: int


class Preference(NamedTuple):
    """A user's choice between two result lists."""

    query: str
    left: str  # system
    right: str
    preference: Literal["left", "right", "same"]
    blind: bool  # the systems' names were hidden
    seed: int  # of the random assignment of sides

    @property
    def preferred(self) -> str:
        """The preferred system, or `same`."""
        return {"left": self.left, "right": self.right, "same": "same"}[self.preference]


class Click(NamedTuple):
    """A document that a user opened, and its rank."""

    query: str
    doc_id: str
    system: str
    rank: int


class Feedback:
    """The feedback file of a run. Thread-safe; methods raise DataError if the file cannot be used. A missing or moved
    file is created anew with the next feedback."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._connected_to: tuple[int, int] | None = None

    def grade(self, rows: list[Grade], rater: str = "") -> None:
        """Store grades, all or none."""
        with self._writing() as connection:
            connection.executemany(
                "INSERT INTO grades (time, rater, query, doc_id, grade) VALUES (?, ?, ?, ?, ?)",
                [(_now(), rater, *row) for row in rows],
            )

    def prefer(self, row: Preference, rater: str = "") -> None:
        with self._writing() as connection:
            connection.execute("INSERT INTO preferences VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", (_now(), rater, *row))

    def click(self, row: Click, rater: str = "") -> None:
        with self._writing() as connection:
            connection.execute("INSERT INTO clicks VALUES (NULL, ?, ?, ?, ?, ?, ?)", (_now(), rater, *row))

    def grades(self, query: str | None = None) -> list[Grade]:
        """The last grade of each document, for one query or all, in the order of their first grades."""
        select, by_pair = "SELECT query, doc_id, grade FROM grades", dict[tuple[str, str], int]()
        where, values = ("", ()) if query is None else (" WHERE query = ?", (query,))
        for text, doc_id, grade in self._rows(f"{select}{where} ORDER BY id", values):
            by_pair[text, doc_id] = grade
        return [Grade(text, doc_id, grade) for (text, doc_id), grade in by_pair.items()]

    def preferences(self) -> list[Preference]:
        select = "SELECT query, left_system, right_system, preference, blind, seed FROM preferences ORDER BY id"
        return [Preference(*row)._replace(blind=bool(row[4])) for row in self._rows(select)]

    def clicks(self) -> list[Click]:
        return [Click(*row) for row in self._rows("SELECT query, doc_id, system, rank FROM clicks ORDER BY id")]

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _rows(self, select: str, values: tuple[str, ...] = ()) -> list[tuple]:
        if not self.path.exists():
            return []
        with self._open() as connection, closing(connection.execute(select, values)) as cursor:
            return cursor.fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection, connection:
            yield connection

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._connected_to != _identity(self.path):
                    self._disconnect()
                if self._connection is None:
                    self._connection = _connected(self.path)
                    self._connected_to = _identity(self.path)
                yield self._connection
            except sqlite3.Error as error:
                self._disconnect()
                what_to_do = "if it is damaged, move it away, and a new one is made"
                if is_denied(error):
                    what_to_do = "change its permissions and its folder's"
                raise DataError(f"cannot be used now ({error}); {what_to_do}", path=self.path) from None

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _connected(path: Path) -> sqlite3.Connection:
    refuse_long_path(path)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise DataError(f"is of version {version}; expected {_VERSION}, so move it out of the way", path=path)
    except BaseException:
        connection.close()
        raise
    return connection


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file, to detect that it was replaced; None if it does not exist."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
