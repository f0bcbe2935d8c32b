"""Normalization of scores, so that those of different members and scorers can be added.

min-max      per list: the lowest is 0, the highest 1
rank         per list: from the last, 0, to the first, 1; equal scores share the mean rank
z            per list: mean 0, standard deviation 1
percentile   over all lists: the 1st percentile is 0, the 99th 1, clipped (CADET, arXiv 2505.19274)
none         unchanged

A candidate without a score (NaN) counts as the worst scored one, since candidates are scored from the best down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from acclimate.base.errors import unknown
from acclimate.search.candidates import Candidates, min_max

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scale = Callable[
    [str, "NDArray[np.float32]"], "NDArray[np.float32]"
]  # (name, scores (n,) of one list) -> normalized (n,)

MIN_MAX, PERCENTILE, NONE = "min-max", "percentile", "none"
NAMES = (MIN_MAX, "rank", "z", PERCENTILE, NONE)
_LOW, _HIGH = 1, 99


def of_rated(to_scale: Scale) -> Scale:
    """The scale fitted to the scores that are present; missing ones count as the worst of them."""

    def scaled(name: str, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        missing = np.isnan(scores)
        if not missing.any():
            return to_scale(name, scores)
        rated = to_scale(name, scores[~missing])
        every = np.full_like(scores, rated.min())
        every[~missing] = rated
        return every

    return scaled


@of_rated
def by_list(_name: str, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """min-max."""
    return min_max(scores)


@of_rated
def as_it_is(_name: str, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """none."""
    return scores


@of_rated
def rank(_name: str, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Ranks scaled to [0, 1], higher is better, mean rank for equal scores; all 0 if all are equal."""
    below = np.searchsorted(np.sort(scores), scores, side="left")
    up_to = np.searchsorted(np.sort(scores), scores, side="right")
    return min_max(((below + up_to) / 2).astype(np.float32))


@of_rated
def z(_name: str, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard deviations from the mean; all 0 if all are equal."""
    spread = scores.std() if len(scores) else 0.0
    return (scores - scores.mean()) / spread if spread > 0 else np.zeros_like(scores)


def scale(kind: str, lists: Sequence[Candidates], names: Sequence[str]) -> Scale:
    """The scale of that kind for `names`, fitted to `lists` if it is global.

    Raises SettingError for an unknown kind.
    """
    if kind not in NAMES:
        raise unknown("scale", kind, NAMES)
    if kind != PERCENTILE:
        return {MIN_MAX: by_list, "rank": rank, "z": z, NONE: as_it_is}[kind]
    ends = bounds(lists, names)

    @of_rated
    def percentile(name: str, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        low, high = ends.get(name, (0.0, 1.0))  # combined scores are in [0, 1] already
        within = (scores - np.float32(low)) / np.float32(high - low) if high > low else np.zeros_like(scores)
        return within.clip(0, 1)

    return percentile


def bounds(lists: Sequence[Candidates], names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """The 1st and 99th percentile of each name's scores over all lists."""
    if not lists:
        return {}
    return {
        name: tuple(
            np.nanpercentile(np.concatenate([candidates.scores[name] for candidates in lists]), (_LOW, _HIGH)).tolist()
        )
        for name in names
    }


def combine(candidates: Candidates, weights: Mapping[str, float], to_scale: Scale) -> NDArray[np.float32]:
    """(n,) weighted sum of normalized scores."""
    total = np.zeros(len(candidates.rows), dtype=np.float32)
    for name, weight in weights.items():
        if weight:
            total += np.float32(weight) * to_scale(name, candidates.scores[name])
    return total
