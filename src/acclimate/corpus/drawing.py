"""In which order documents are drawn: by numbers that follow from the seed and each one's own id and length.

A share of the documents is for windows: they are drawn with chances in proportion to a power of their length, to be
read from anywhere in them; all others are equally likely. Which one a document is for is drawn by its own id, too, so
another document changes neither that nor the order of those that are there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from acclimate.base.draw import uniform


class Candidate(NamedTuple):
    """A document that may be drawn."""

    doc_id: str
    luck: float  # uniform in [0, 1)
    weight: float  # its chances beside those of others, 1 on average
    for_window: bool


def in_order(lengths: Mapping[str, int], seed: int, *, windows: float, length_power: float) -> list[Candidate]:
    """The documents in the order in which they are drawn, each kind spread evenly over the order of both.

    lengths: of the documents, by id. windows: share of them that are for windows, in [0, 1].
    """
    luck = {doc_id: uniform(seed, "draw", doc_id) for doc_id in lengths}
    for_windows = {doc_id for doc_id in lengths if windows and uniform(seed, "window", doc_id) < windows}
    weights = {doc_id: max(1, lengths[doc_id]) ** length_power for doc_id in for_windows}
    mean = math.fsum(weights.values()) / max(1, len(weights))
    # The least exponential of a rate that is the weight first: Efraimidis and Spirakis 2006, section 3.
    waits = {doc_id: -math.log1p(-luck[doc_id]) / weight for doc_id, weight in weights.items()}
    by_kind = {
        True: sorted(for_windows, key=lambda doc_id: (waits[doc_id], doc_id)),
        False: sorted(lengths.keys() - for_windows, key=lambda doc_id: (luck[doc_id], doc_id)),
    }
    shares = {True: windows, False: 1 - windows}
    places = sorted(
        ((number + 0.5) / shares[for_window], doc_id, for_window)
        for for_window, doc_ids in by_kind.items()
        for number, doc_id in enumerate(doc_ids)
    )
    return [
        Candidate(doc_id, luck[doc_id], weights[doc_id] / mean if for_window else 1.0, for_window)
        for _, doc_id, for_window in places
    ]
