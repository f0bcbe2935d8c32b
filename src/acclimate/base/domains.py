"""Domains: the values that a setting may have, written beside its default in the signature of the stage.

    n_docs: Annotated[int, AtLeast(1)] = 1000

A domain supports `in`, and its text describes its values. For a setting with several values it applies to each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

MOST = 10**9  # upper limit of otherwise unlimited numbers: more is a typo that would run for hours or exhaust memory


class Domain(Protocol):
    """A set of values."""

    def __contains__(self, value: Any, /) -> bool: ...

    def __str__(self) -> str:
        """Description of the values, to complete a message `expected ...`."""
        ...


@dataclass(frozen=True)
class Between:
    """Numbers from `low` to `high` inclusive, as numbers or strings of digits, plus the special values `besides`, such
    as 0 for all."""

    low: float
    high: float
    besides: tuple[int | str, ...] = ()
    above: bool = False  # excludes `low` itself

    def __contains__(self, value: Any, /) -> bool:
        if value in self.besides:
            return True
        if isinstance(value, str):
            is_number = value.isascii() and value.isdecimal() and len(value) <= len(str(self.high))
            return is_number and int(value) in self
        return (self.low < value if self.above else self.low <= value) and value <= self.high  # false for NaN

    def __str__(self) -> str:
        low = f"above {_plain(self.low)}, to" if self.above else f"{_plain(self.low)} to"
        return ", ".join([*map(str, self.besides), f"{'or ' if self.besides else ''}{low} {_plain(self.high)}"])


def AtLeast(low: int) -> Between:
    """Whole numbers from `low` upwards."""
    return Between(low, MOST)


def Above(low: float, high: float = MOST) -> Between:
    """Numbers greater than `low`."""
    return Between(low, high, above=True)


SEEDS = Between(0, 2**32 - 1)  # accepted by every library


class OneOf:
    """One of a fixed list of names."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def __contains__(self, value: Any, /) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return ", ".join(self.names)


@dataclass(frozen=True)
class Text:
    """Text that is safe in files, terminals and requests: no lone surrogates, no control characters but white space."""

    longest: int = 10_000

    def __contains__(self, value: Any, /) -> bool:
        return len(value) <= self.longest and all(map(_is_plain, value))

    def __str__(self) -> str:
        return f"text of at most {self.longest:,} characters, without control characters"


def _is_plain(char: str) -> bool:
    return (char >= " " and not "\x7f" <= char <= "\x9f" and not "\ud800" <= char <= "\udfff") or char in "\t\n\r"


def _plain(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
