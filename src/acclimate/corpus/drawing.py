"""The random order in which documents are drawn, from the seed and each document's id and length.

A share of the documents is for windows: drawn in proportion to a power of their length, and read from anywhere in their
text; all others are equally likely. The kind of a document also depends on its id alone, so adding a document changes
neither the kinds nor the order of the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from acclimate.base.draw import uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Drawing(NamedTuple):
    """Candidate documents in the order in which they are drawn."""

    places: NDArray[np.int64]  # (n,) position of each in the input
    luck: NDArray[np.float64]  # (n,) uniform in [0, 1)
    weights: NDArray[np.float64]  # (n,) relative chance, 1 on average
    for_window: NDArray[np.bool_]  # (n,)

    def select(self, order: NDArray[np.int64]) -> Drawing:
        """The documents in another order."""
        return Drawing(self.places[order], self.luck[order], self.weights[order], self.for_window[order])


def in_order(
    doc_ids: Iterable[str], lengths: NDArray[np.integer], seed: int, *, windows: float, length_power: float
) -> Drawing:
    """The documents in random order, with both kinds evenly mixed.

    doc_ids: ascending. lengths: (n_docs,). windows: share of documents for windows, in [0, 1].
    """
    n_docs = len(lengths)
    draws = np.fromiter(
        ((uniform(seed, "draw", each), windows and uniform(seed, "window", each)) for each in doc_ids),
        np.dtype([("luck", float), ("window", float)]),
        count=n_docs,
    )
    luck, for_window = draws["luck"], draws["window"] < windows
    of_windows, others = np.flatnonzero(for_window), np.flatnonzero(~for_window)
    weights = np.ones(n_docs)  # in Python, as numpy's powers and logarithms differ in the last bit
    weights[of_windows] = [max(1, length) ** length_power for length in lengths[of_windows].tolist()]
    mean = math.fsum(weights[of_windows]) / max(1, len(of_windows))
    # Sort by an exponential variable whose rate is the weight: Efraimidis and Spirakis 2006, section 3.
    rates = zip(luck[of_windows].tolist(), weights[of_windows].tolist(), strict=True)
    waits = np.fromiter((-math.log1p(-number) / weight for number, weight in rates), float, len(of_windows))
    weights[of_windows] /= mean or 1.0
    of_windows = of_windows[np.argsort(waits, kind="stable")]
    others = others[np.argsort(luck[others], kind="stable")]
    places = np.concatenate([of_windows, others])
    spread = [
        (np.arange(len(of_kind)) + 0.5) / (share or 1.0)
        for of_kind, share in ((of_windows, windows), (others, 1 - windows))
    ]
    places = places[np.lexsort((places, np.concatenate(spread)))]
    return Drawing(places, luck[places], weights[places], for_window[places])
