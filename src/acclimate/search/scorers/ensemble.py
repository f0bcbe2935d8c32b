"""An ensemble of scorers: the mean of their scores, min-max normalized per query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from acclimate.base.digests import fingerprint
from acclimate.base.errors import SettingError
from acclimate.records import Query, Scorer
from acclimate.search.candidates import min_max


@dataclass(frozen=True)
class Ensemble:
    """The mean of several scorers.

    A score depends on the other pairs of its query in the same call, so score all candidates of a query at once. Raises
    SettingError without scorers.
    """

    scorers: Mapping[str, Scorer]

    def __post_init__(self) -> None:
        if not self.scorers:
            raise SettingError("an ensemble without scorers; expected one or more")

    @property
    def fingerprint(self) -> str:
        return fingerprint("ensemble", sorted((name, scorer.fingerprint) for name, scorer in self.scorers.items()))

    def score(self, pairs: Sequence[tuple[Query, str]]) -> list[float]:
        """One score per (query, doc_id), in order."""
        total = np.zeros(len(pairs), dtype=np.float64)
        of_query: dict[str, list[int]] = {}
        for place, (query, _) in enumerate(pairs):
            of_query.setdefault(query.query_id, []).append(place)
        for name in sorted(self.scorers):
            scores = np.array(self.scorers[name].score(pairs), dtype=np.float32)
            for rows in of_query.values():
                total[rows] += min_max(scores[rows])
        return (total / len(self.scorers)).tolist()
