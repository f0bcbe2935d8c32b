"""Score candidates with several scorers, each (query, document) pair once.

A call holds queries with their documents, or documents with their queries for an LLM that reads documents once (see
`scorers.lists`). So a score does not depend on what else is asked, and a changed query leaves other calls cached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from acclimate.base.errors import DataError
from acclimate.records import Query, Scorer
from acclimate.search.candidates import Candidates
from acclimate.search.members import Ids
from acclimate.search.scorers.lists import document_batches, score_calls, score_lists

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _QueryScores(NamedTuple):
    """A scorer's scores of documents for one query."""

    rows: NDArray[np.int64]  # (n,) ascending
    scores: NDArray[np.float32]  # (n,)

    def with_more(self, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> _QueryScores:
        rows, scores = np.concatenate([self.rows, rows]), np.concatenate([self.scores, scores])
        order = np.argsort(rows)
        return _QueryScores(rows[order], scores[order])


_NOTHING = _QueryScores(np.empty(0, np.int64), np.empty(0, np.float32))


class Ratings:
    """Scorers by name, and all of their scores so far."""

    def __init__(self, scorers: Mapping[str, Scorer], ids: Ids, progress: Callable[[int, int], None]) -> None:
        self.scorers, self.ids, self.progress = scorers, ids, progress
        self._rated: dict[str, dict[str, _QueryScores]] = {name: {} for name in scorers}  # scorer -> query text
        self._done = 0

    def rate(
        self, lists: Sequence[Candidates], names: Sequence[str], which: Sequence[NDArray[np.int64]] | None = None
    ) -> Iterator[Candidates]:
        """The candidates with scores of the named scorers in float32, once all are scored.

        which: for each list the positions to score, others get NaN; None: all. Raises DataError for a score that is not
        finite.
        """
        which = which or [np.arange(len(candidates.rows)) for candidates in lists]
        queries: dict[str, Query] = {}  # one per text
        wanted: dict[str, NDArray[np.int64]] = {}
        for candidates, places in zip(lists, which, strict=True):
            query = queries.setdefault(candidates.query.text, candidates.query)
            rows = wanted.get(query.text, _NOTHING.rows)
            wanted[query.text] = np.union1d(rows, candidates.rows[places])
        missing = {name: dict[Query, "NDArray[np.int64]"]() for name in names}
        for name, unrated in missing.items():
            for text, rows in wanted.items():
                fresh = np.setdiff1d(rows, self._rated[name].get(text, _NOTHING).rows)
                if len(fresh):
                    unrated[queries[text]] = fresh
        total = self._done + sum(len(rows) for unrated in missing.values() for rows in unrated.values())
        for name, unrated in missing.items():
            is_by_document = getattr(self.scorers[name], "by_document", False)
            for query, scores in (self._by_document if is_by_document else self._by_query)(name, unrated, total):
                before = self._rated[name].get(query.text, _NOTHING)
                self._rated[name][query.text] = before.with_more(unrated[query], scores)
        for candidates, places in zip(lists, which, strict=True):
            scores = {name: self._scores(candidates, name, places) for name in names}
            yield candidates._replace(scores={**candidates.scores, **scores})

    def _by_query(
        self, name: str, unrated: Mapping[Query, NDArray[np.int64]], total: int
    ) -> Iterator[tuple[Query, NDArray[np.float32]]]:
        """Each query with the scores of its rows."""
        lists = [(query, [self.ids.doc_ids[row] for row in rows]) for query, rows in unrated.items()]
        for query, scores in score_lists(self.scorers[name], lists):
            pairs = [(query, self.ids.doc_ids[row]) for row in unrated[query]]
            yield query, self._checked(name, pairs, scores, total)

    def _by_document(
        self, name: str, unrated: Mapping[Query, NDArray[np.int64]], total: int
    ) -> Iterator[tuple[Query, NDArray[np.float32]]]:
        """Each query with the scores of its rows, computed by documents."""
        readers: dict[str, list[tuple[Query, int]]] = {}  # document -> (query, position of its score)
        for query, rows in sorted(unrated.items(), key=lambda item: item[0].text):
            for place, row in enumerate(rows):
                readers.setdefault(self.ids.doc_ids[row], []).append((query, place))
        rated = {query: np.empty(len(rows), np.float32) for query, rows in unrated.items()}
        groups = document_batches(readers)
        calls = [[(query, doc_id) for doc_id in group for query, _ in readers[doc_id]] for group in groups]
        for group, pairs, said in zip(groups, calls, score_calls(self.scorers[name], calls), strict=True):
            scores = iter(self._checked(name, pairs, said, total))
            for query, place in (asked for doc_id in group for asked in readers[doc_id]):
                rated[query][place] = next(scores)
        yield from rated.items()

    def _checked(
        self, name: str, pairs: Sequence[tuple[Query, str]], scores: Sequence[float], total: int
    ) -> NDArray[np.float32]:
        """Check scores, and report progress."""
        values = np.array(scores, dtype=np.float32)
        for place in np.flatnonzero(~np.isfinite(values))[:1]:
            query, doc_id = pairs[place]
            raise DataError(
                f"{name} rated query {query.query_id} and document {doc_id} {scores[place]}; expected a finite number"
            )
        self._done += len(pairs)
        self.progress(self._done, total)
        return values

    def _scores(self, candidates: Candidates, name: str, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n_candidates,) scores at these positions; NaN elsewhere."""
        rated = self._rated[name].get(candidates.query.text, _NOTHING)
        scores = np.full(len(candidates.rows), np.nan, dtype=np.float32)
        scores[places] = rated.scores[np.searchsorted(rated.rows, candidates.rows[places])]
        return scores
