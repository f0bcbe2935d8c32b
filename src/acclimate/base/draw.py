"""The one seeded draw: a number that follows from a seed, a purpose and an id, by a hash of these and nothing else.

So the order in which things come, and what else there is, cannot matter. A sequence of draws for one thing is a
`random.Random` seeded with the same parts as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar

from acclimate.base.digests import fingerprint


class _OfQuery(Protocol):
    @property
    def query_id(self) -> str: ...


T = TypeVar("T", bound=_OfQuery)


def draw(*parts: str | int) -> int:
    """A whole number, uniform in [0, 2**64)."""
    text = ":".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def uniform(*parts: str | int) -> float:
    """A number, uniform in [0, 1)."""
    return draw(*parts) / 2**64


def subset(items: Sequence[T], count: int, seed: int) -> list[T]:
    """`count` of the items, or all when there are fewer, drawn by query id: fewer are always among more."""
    return sorted(items, key=lambda item: fingerprint(seed, item.query_id))[:count]
