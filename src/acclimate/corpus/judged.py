"""The judged queries of a collection: those that measure, and those that choose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from acclimate.base.files import fingerprint
from acclimate.corpus.collections import Collection
from acclimate.records import Qrel, Query

SYNTHETIC_TEST_SHARE = 0.2  # of the drawn documents, where no labelled queries measure


class Judged(NamedTuple):
    """A split's judged queries, and all of its judgments; the split is "" where there are none."""

    split: str
    queries: list[Query]
    qrels: list[Qrel]

    @property
    def fingerprint(self) -> str:
        return fingerprint(sorted(self.queries), sorted(self.qrels))


@dataclass(frozen=True)
class Labels:
    """What a collection brings."""

    collection: Collection

    @cached_property
    def measuring(self) -> Judged:
        """The test split, or the dev split of a collection that has no other."""
        return self._judged("test") if self._judged("test").queries else self._judged("dev")

    @property
    def test_share(self) -> float:
        """Of the documents that queries are written for: those whose queries only measure."""
        return 0.0 if self.measuring.queries else SYNTHETIC_TEST_SHARE

    @cached_property
    def choosing(self) -> Judged:
        """The dev split where another one measures: test judgments choose nothing. Only queries that can tell."""
        if self.measuring.split != "test":
            return Judged("", [], [])
        split, queries, qrels = self._judged("dev")
        relevant = {qrel.query_id for qrel in qrels if qrel.relevance > 0}
        return Judged(split, [query for query in queries if query.query_id in relevant], qrels)

    def _judged(self, split: str) -> Judged:
        qrels = self.collection.qrels.get(split, [])
        judged = {qrel.query_id for qrel in qrels}
        queries = [query for query in self.collection.queries if query.query_id in judged]
        return Judged(split, queries, qrels) if queries else Judged("", [], [])
