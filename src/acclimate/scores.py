"""Scores on disk, so that another threshold costs nothing: one SQLite file, a value per scorer and query."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from acclimate.errors import DataError

BATCH = 64  # queries; a killed run loses the batch at hand


class Scores:
    """What scorers, by their fingerprints, said of queries, by their ids; any number of processes may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._rows = sqlite3.connect(path, timeout=60.0, isolation_level=None)
            self._rows.execute("PRAGMA journal_mode=WAL")
            self._rows.execute(
                "CREATE TABLE IF NOT EXISTS scores (scorer TEXT, query_id TEXT, value REAL, "
                "PRIMARY KEY (scorer, query_id)) WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise DataError(f"not a usable file of scores: {error}; remove it", path=path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def of(
        self,
        scorer: str,
        query_ids: Sequence[str],
        load: Callable[[], Callable[[list[int]], Sequence[float]]],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[float]:
        """One value per query, in order.

        load: gives a function that scores the queries at some places, a batch at a time; called if one is missing.
        """
        rows = self._rows.execute("SELECT query_id, value FROM scores WHERE scorer = ?", (scorer,))
        found = {query_id: math.nan if value is None else value for query_id, value in rows}  # SQLite has no NaN
        missing = [at for at, query_id in enumerate(query_ids) if query_id not in found]
        if missing:
            score = load()
            for start in range(0, len(missing), BATCH):
                batch = missing[start : start + BATCH]
                fresh = dict(zip((query_ids[at] for at in batch), map(float, score(batch)), strict=True))
                self._keep(scorer, fresh)
                found.update(fresh)
                progress(start + len(batch), len(missing))
        return [found[query_id] for query_id in query_ids]

    def _keep(self, scorer: str, values: Mapping[str, float]) -> None:
        try:
            self._rows.execute("BEGIN IMMEDIATE")
            self._rows.executemany(
                "INSERT OR IGNORE INTO scores VALUES (?, ?, ?)", [(scorer, *item) for item in values.items()]
            )
            self._rows.execute("COMMIT")
        except sqlite3.Error as error:  # no room on the disk, above all
            if self._rows.in_transaction:
                self._rows.execute("ROLLBACK")
            raise DataError(f"{error}: scores could not be kept; the same command goes on", path=self.path) from None
