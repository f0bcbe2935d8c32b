"""Scorers rate candidates: each pair of query and document once, however many lists it is in.

A call holds one query with its documents, or where an LLM reads each document once for all its queries, one document
with them: what else is asked cannot move a score, and is not asked again where one query changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from acclimate.base.errors import DataError
from acclimate.records import Scorer
from acclimate.search.candidates import Candidates
from acclimate.search.members import Ids

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Ratings:
    """Scorers by name, and every score that they have given so far."""

    def __init__(self, scorers: Mapping[str, Scorer], ids: Ids, progress: Callable[[int, int], None]) -> None:
        self.scorers, self.ids, self.progress = scorers, ids, progress
        self.scores: dict[str, dict[tuple[str, str], float]] = {name: {} for name in scorers}
        self.done = 0

    def rate(
        self, lists: Sequence[Candidates], names: Sequence[str], which: Sequence[NDArray[np.int64]] | None = None
    ) -> list[Candidates]:
        """The same candidates with the scores of the named scorers, in float32.

        which: per list the places of candidates to rate, the others get NaN; None: all.
        Raises DataError for a score that is not finite.
        """
        which = which or [np.arange(len(candidates.rows)) for candidates in lists]
        pairs = {
            (self.ids.doc_ids[row], candidates.query.text): candidates.query
            for candidates, places in zip(lists, which, strict=True)
            for row in candidates.rows[places]
        }
        missing = {name: sorted(pair for pair in pairs if pair not in self.scores[name]) for name in names}
        total = self.done + sum(map(len, missing.values()))
        for name, unrated in missing.items():
            scorer = self.scorers[name]
            place = 0 if getattr(scorer, "by_document", False) else 1  # of what a call has one of: document or query
            calls: dict[str, list[tuple[str, str]]] = {}
            for pair in unrated:
                calls.setdefault(pair[place], []).append(pair)
            for call in calls.values():
                scores = scorer.score([(pairs[pair], pair[0]) for pair in call])
                for pair, score in zip(call, scores, strict=True):
                    if not math.isfinite(score):
                        raise DataError(
                            f"{name} rated query {pairs[pair].query_id} and document {pair[0]} {score}; "
                            "expected a finite number"
                        )
                    self.scores[name][pair] = score
                self.done += len(call)
                self.progress(self.done, total)
        return [
            candidates._replace(
                scores={**candidates.scores, **{name: self._scores(candidates, name, places) for name in names}}
            )
            for candidates, places in zip(lists, which, strict=True)
        ]

    def _scores(self, candidates: Candidates, name: str, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n_candidates,) what the scorer said of those at these places; NaN for the others."""
        text = candidates.query.text
        scores = np.full(len(candidates.rows), np.nan, dtype=np.float32)
        scores[places] = [self.scores[name][self.ids.doc_ids[row], text] for row in candidates.rows[places]]
        return scores
