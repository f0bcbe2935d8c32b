"""Values by name, each made when it is first asked for: what nobody asks for is not loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

Value = TypeVar("Value")


class Lazy(Mapping[str, Value]):
    """A mapping that knows its names, and how each value is made.

    >>> squares = Lazy({"two": lambda: 2 * 2, "none": lambda: 1 / 0})
    >>> list(squares), squares["two"]
    (['two', 'none'], 4)
    """

    def __init__(self, makers: Mapping[str, Callable[[], Value]]) -> None:
        self._makers = dict(makers)
        self._values: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        if name not in self._values:
            self._values[name] = self._makers[name]()
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __or__(self, others: Lazy[Value]) -> Lazy[Value]:
        """Both in one, which asks the one that has the value: whichever is asked first, it is made once."""
        return Lazy({name: partial(part.__getitem__, name) for part in (self, others) for name in part})
