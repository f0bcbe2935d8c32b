"""A provided TREC run as a retriever for the queries that it contains."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from acclimate.base.digests import fingerprint, sha256
from acclimate.base.errors import DataError
from acclimate.base.text import quoted
from acclimate.corpus.doc_ids import ascending
from acclimate.corpus.formats import read_run
from acclimate.records import Query, ScoredDoc
from acclimate.search.members import Ids

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FirstStage:
    """A run as a retriever. If documents were split, it returns all passages of each."""

    ids: Ids
    hits: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]  # query_id -> (rows, best first; their scores)
    file: str  # fingerprint of the file

    @classmethod
    def read(cls, path: Path, ids: Ids, query_ids: Collection[str]) -> FirstStage:
        """Read the hits of these queries in a run that `check` has passed."""
        rows_of = _passages(ids)
        hits: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        for query_id, ranked in groupby(read_run(path), key=lambda hit: hit.query_id):
            if query_id in query_ids:
                passages_in_order = [(row, hit.score) for hit in _untied(ranked) for row in rows_of[hit.doc_id]]
                rows, scores = zip(*passages_in_order, strict=True)
                hits[query_id] = np.array(rows, np.int64), np.array(scores, np.float64)
        return cls(ids, hits, sha256(path))

    @property
    def fingerprint(self) -> str:
        return fingerprint("first-stage", self.file)

    def search(self, queries: Sequence[Query], k: int) -> list[ScoredDoc]:
        """At most `k` docs per query, best first, ties by doc_id; none for a query that is not in the run."""
        hits: list[ScoredDoc] = []
        for query in queries:
            if query.query_id in self.hits:
                rows, scores = self.hits[query.query_id]
                for row, score in zip(rows[:k].tolist(), scores[:k].tolist(), strict=True):
                    hits.append(ScoredDoc(query.query_id, self.ids.doc_ids[row], score))
        return hits


def _untied(hits: Iterable[ScoredDoc]) -> list[ScoredDoc]:
    """Hits best first, without ties: as in trec_eval the larger id first, the others with the next lower float."""
    by_doc = sorted(hits, key=lambda hit: hit.doc_id, reverse=True)
    untied: list[ScoredDoc] = []
    for hit in sorted(by_doc, key=lambda hit: -hit.score):
        below = np.nextafter(untied[-1].score, -np.inf) if untied else np.inf
        untied.append(hit._replace(score=min(hit.score, float(below))))
    return untied


def check(path: Path, documents: Container[str], query_ids: Collection[str]) -> None:
    """Raises DataError for a run with unknown documents, or without any of the queries."""
    n_unknown, first, queries = 0, "", set[str]()
    for hit in read_run(path):
        queries.add(hit.query_id)
        if hit.doc_id not in documents:
            n_unknown, first = n_unknown + 1, first or hit.doc_id
    if n_unknown:
        raise DataError(
            f"{n_unknown:,} of its lines are for documents missing from the corpus, the first {quoted(first)}; "
            "expected a run over the indexed documents",
            path=path,
        )
    if queries.isdisjoint(query_ids):
        others = f"others, such as {quoted(min(queries))}" if queries else "none at all"
        raise DataError(
            f"it has none of the evaluation queries, such as {quoted(min(query_ids))}; it has {others}", path=path
        )


def _passages(ids: Ids) -> Mapping[str, Sequence[int]]:
    """Document id -> its rows, in the order of passage ids."""
    rows: dict[str, list[int]] = {}
    for row in map(int, ascending(ids.doc_ids)):
        doc_id = ids.doc_ids[row]
        rows.setdefault(ids.parents.get(doc_id, doc_id), []).append(row)
    return rows
