"""Fewer than all: drawn, and not the first ones by some order that may mean something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from acclimate.base.files import fingerprint


class _OfQuery(Protocol):
    @property
    def query_id(self) -> str: ...


T = TypeVar("T", bound=_OfQuery)


def drawn(items: Sequence[T], count: int, seed: int) -> list[T]:
    """`count` of the items, or all when there are fewer, drawn by query id: fewer are always among more."""
    return sorted(items, key=lambda one: fingerprint(seed, one.query_id))[:count]
