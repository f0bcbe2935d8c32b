"""Scorers rate candidates: each pair of query and document once, however many lists it is in.

A call holds pairs of many queries, so that a scorer can group them by length, document by document, so that an LLM can
read each document once for all its queries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from acclimate.base.errors import DataError
from acclimate.records import Scorer
from acclimate.search.members import Ids
from acclimate.search.system import Candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAIRS_AT_ONCE = 256  # in one call; what a killed run rates again, at most


class Asked:
    """Scorers by name, and what they said so far."""

    def __init__(self, scorers: Mapping[str, Scorer], ids: Ids, progress: Callable[[int, int], None]) -> None:
        self.scorers, self.ids, self.progress = scorers, ids, progress
        self.said: dict[str, dict[tuple[str, str], float]] = {name: {} for name in scorers}
        self.done = 0

    def rate(
        self, found: Sequence[Candidates], names: Sequence[str], which: Sequence[NDArray[np.int64]] | None = None
    ) -> list[Candidates]:
        """The same candidates with the scores of the named scorers, in float32.

        which: per list the places of candidates to rate, the others get NaN; None: all.
        Raises DataError for a score that is not finite.
        """
        places = which or [np.arange(len(one.rows)) for one in found]
        pairs = {
            (self.ids.doc_ids[row], one.query.text): one.query
            for one, at in zip(found, places, strict=True)
            for row in one.rows[at]
        }
        # Document by document, so that who reads a document once for all its queries can.
        fresh = {name: sorted(pair for pair in pairs if pair not in self.said[name]) for name in names}
        total = self.done + sum(map(len, fresh.values()))
        for name, left in fresh.items():
            for start in range(0, len(left), PAIRS_AT_ONCE):
                batch = left[start : start + PAIRS_AT_ONCE]
                scores = self.scorers[name].score([(pairs[pair], pair[0]) for pair in batch])
                for pair, score in zip(batch, scores, strict=True):
                    if not math.isfinite(score):
                        raise DataError(
                            f"{name} rated query {pairs[pair].query_id} and document {pair[0]} {score}; "
                            "expected a finite number"
                        )
                    self.said[name][pair] = score
                self.done += len(batch)
                self.progress(self.done, total)
        return [
            one._replace(scores={**one.scores, **{name: self._of(one, name, at) for name in names}})
            for one, at in zip(found, places, strict=True)
        ]

    def _of(self, one: Candidates, name: str, places: NDArray[np.int64]) -> NDArray[np.float32]:
        scores = np.full(len(one.rows), np.nan, dtype=np.float32)
        scores[places] = [self.said[name][self.ids.doc_ids[row], one.query.text] for row in one.rows[places]]
        return scores
