"""A mapping whose values are computed on first access, so that unused models are never loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

Value = TypeVar("Value")


class Lazy(Mapping[str, Value]):
    """A mapping from names to values, each computed by its factory on first access.

    >>> squares = Lazy({"two": lambda: 2 * 2, "none": lambda: 1 / 0})
    >>> list(squares), squares["two"]
    (['two', 'none'], 4)
    """

    def __init__(self, factories: Mapping[str, Callable[[], Value]]) -> None:
        self._factories = dict(factories)
        self._values: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        if name not in self._values:
            self._values[name] = self._factories[name]()
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        return name in self._factories

    def __iter__(self) -> Iterator[str]:
        return iter(self._factories)

    def __len__(self) -> int:
        return len(self._factories)

    def __or__(self, others: Lazy[Value]) -> Lazy[Value]:
        """Both mappings in one; a value is still computed only once, whichever mapping is asked first."""
        return Lazy({name: partial(part.__getitem__, name) for part in (self, others) for name in part})
