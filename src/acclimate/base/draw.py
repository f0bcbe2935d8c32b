"""Seeded random draws: each number is a hash of a seed, a purpose and an id.

So a draw depends neither on order nor on what else is drawn. For a sequence of draws, seed a `random.Random` with the
same parts joined as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar

from acclimate.base.digests import fingerprint


class _HasQueryId(Protocol):
    @property
    def query_id(self) -> str: ...


T = TypeVar("T", bound=_HasQueryId)


def draw(*parts: str | int) -> int:
    """A whole number, uniform in [0, 2**64)."""
    text = ":".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def uniform(*parts: str | int) -> float:
    """A number, uniform in [0, 1)."""
    return draw(*parts) / 2**64


def subset(items: Sequence[T], count: int, seed: int | str) -> list[T]:
    """Draw `count` items (all if there are fewer) by query id; a smaller subset is contained in a larger one."""
    return sorted(items, key=lambda item: fingerprint(seed, item.query_id))[:count]
