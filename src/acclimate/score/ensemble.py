"""Several scorers as one: each one's scores brought to a common scale per query, then their weighted mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from acclimate.errors import SettingError, unknown
from acclimate.files import fingerprint
from acclimate.records import Query, Scorer
from acclimate.retrieve.system import min_max

if TYPE_CHECKING:
    from numpy.typing import NDArray


def z_scores(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean 0, standard deviation 1; all 0 where all are equal."""
    spread = scores.std()
    return (scores - scores.mean()) / spread if spread > 0 else np.zeros_like(scores)


def ranks(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The share of the other scores that each one beats, in [0, 1]; a tie is half a win."""
    beaten = (scores[:, None] > scores).sum(1) + 0.5 * ((scores[:, None] == scores).sum(1) - 1)
    return (beaten / max(1, len(scores) - 1)).astype(np.float32)


NORMALIZE: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "min-max": min_max,
    "z": z_scores,
    "rank": ranks,
}


@dataclass(frozen=True)
class Ensemble:
    """The weighted mean of scorers; a scorer itself.

    A score depends on the other pairs of its query in the same call: ask for all candidates of a query at once.
    Raises SettingError without scorers or for weights that are not one positive number at least.
    """

    scorers: Mapping[str, Scorer]
    weights: Mapping[str, float] = field(default_factory=dict)  # 1 for each when empty
    normalize: str = "min-max"  # or z, or rank

    def __post_init__(self) -> None:
        if self.normalize not in NORMALIZE:
            raise unknown("normalization", self.normalize, NORMALIZE)
        if stray := set(self.weights) - set(self.scorers):
            raise unknown("scorer", min(stray), self.scorers)
        if not self.scorers or min(self._weights.values()) < 0 or sum(self._weights.values()) <= 0:
            raise SettingError(
                f"an ensemble of {self._weights}; expected scorers with weights of 0 and more, not all 0"
            )

    @property
    def _weights(self) -> dict[str, float]:
        return dict(self.weights) or dict.fromkeys(self.scorers, 1.0)

    @property
    def fingerprint(self) -> str:
        parts = sorted((name, self.scorers[name].fingerprint, weight) for name, weight in self._weights.items())
        return fingerprint("ensemble", parts, self.normalize)

    def score(self, pairs: Sequence[tuple[Query, str]]) -> list[float]:
        """One float per (query, doc_id), in order."""
        total = np.zeros(len(pairs), dtype=np.float64)
        of_query: dict[str, list[int]] = {}
        for at, (query, _) in enumerate(pairs):
            of_query.setdefault(query.query_id, []).append(at)
        weights = self._weights
        for name, weight in sorted(weights.items()):
            if not weight:
                continue
            scores = np.array(self.scorers[name].score(pairs), dtype=np.float32)
            for rows in of_query.values():
                total[rows] += weight * NORMALIZE[self.normalize](scores[rows])
        return (total / sum(weights.values())).tolist()
