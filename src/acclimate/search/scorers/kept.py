"""Scores on disk, so that nothing is rated twice: one SQLite file, a value per scorer and query or a batch of pairs."""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from acclimate.base.database import unusable
from acclimate.base.files import fingerprint, make_folder
from acclimate.base.version import __version__
from acclimate.records import Query, Scorer

BATCH = 64  # queries; a killed run loses the batch at hand


class Scores:
    """What scorers, by their fingerprints, said of queries, by their ids; any number of processes may share it.

    What another version of acclimate kept is not read: it may have rated in another way.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        try:
            self._rows = sqlite3.connect(path, timeout=60.0, isolation_level=None)
            self._rows.execute("PRAGMA journal_mode=WAL")
            self._rows.execute(
                "CREATE TABLE IF NOT EXISTS scores (scorer TEXT, query_id TEXT, value REAL, "
                "PRIMARY KEY (scorer, query_id)) WITHOUT ROWID"
            )
            self._rows.execute("CREATE TABLE IF NOT EXISTS batches (key TEXT PRIMARY KEY, scores BLOB)")
        except sqlite3.Error as error:
            raise unusable(error, path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._rows.close()
        if isinstance(error, sqlite3.Error):
            raise unusable(error, self.path) from error

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
        scorer = fingerprint(__version__, scorer)
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

    def batch(self, key: str, n_scores: int, rate: Callable[[], Sequence[float]]) -> list[float]:
        """The `n_scores` float32 scores of that key, from the file or by `rate`."""
        key = fingerprint(__version__, key)
        found = self._rows.execute("SELECT scores FROM batches WHERE key = ?", (key,)).fetchone()
        if found is not None and isinstance(found[0], bytes) and len(found[0]) == 4 * n_scores:
            return array("f", found[0]).tolist()
        scores = array("f", rate())
        if all(map(math.isfinite, scores)):  # others are refused by whoever asked, and asked for again
            self._write("INSERT OR REPLACE INTO batches VALUES (?, ?)", [(key, scores.tobytes())])
        return scores.tolist()

    def _keep(self, scorer: str, values: Mapping[str, float]) -> None:
        self._write("INSERT OR IGNORE INTO scores VALUES (?, ?, ?)", [(scorer, *item) for item in values.items()])

    def _write(self, statement: str, rows: Sequence[tuple[str | float | bytes, ...]]) -> None:
        try:
            self._rows.execute("BEGIN IMMEDIATE")
            self._rows.executemany(statement, rows)
            self._rows.execute("COMMIT")
        except sqlite3.Error as error:  # no room on the disk, above all
            if self._rows.in_transaction:
                self._rows.execute("ROLLBACK")
            raise unusable(error, self.path) from None


@dataclass
class Kept:
    """A scorer whose answers are kept: what it was once asked in one call is read from the file.

    A call is kept as a whole, because the pairs in a batch move a score's rounding.
    """

    scorer: Scorer
    scores: Scores
    corpus: str  # the fingerprint of the docs that it reads

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return self.scorer.fingerprint  # which may take the reading of all its weights

    def score(self, pairs: Sequence[tuple[Query, str]]) -> list[float]:
        """One float32 per (query, doc_id), in order."""
        key = fingerprint("pairs", self.fingerprint, self.corpus, [(query.text, doc_id) for query, doc_id in pairs])
        return self.scores.batch(key, len(pairs), lambda: self.scorer.score(pairs))
