"""Split the sampled documents into sides: their queries train, choose (dev) or measure (test)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Literal

Side = Literal["train", "dev", "test"]
SIDES: tuple[Side, ...] = ("dev", "test", "train")
_FEWEST = 2  # documents on a side, where there are eight or more; of four to seven, one


def sides_of(draws: Mapping[str, float], dev_share: float, test_share: float) -> dict[str, Side]:
    """The side of each document: the one in whose share its draw falls.

    With few documents chance may give a side too few; it then gets those whose draws are nearest to its share.
    """
    sides: dict[str, Side] = {key: _side(draw, dev_share, test_share) for key, draw in draws.items()}
    fewest = min(_FEWEST, len(draws) // 4)
    edges = (0.0, dev_share, dev_share + test_share, 1.0)
    for side, (low, high) in zip(SIDES, itertools.pairwise(edges), strict=True):
        while low < high and (count := Counter(sides.values()))[side] < fewest:
            spare = [key for key in draws if count[sides[key]] > fewest]
            sides[min(spare, key=lambda key: (abs(draws[key] - (low + high) / 2), key))] = side
    return sides


def _side(draw: float, dev_share: float, test_share: float) -> Side:
    return "dev" if draw < dev_share else "test" if draw < dev_share + test_share else "train"
