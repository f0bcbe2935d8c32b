"""Sanitizing untrusted text (documents, LLM answers, names, values) for messages and terminals.

Control characters and marks of reading direction are removed, and long values shortened.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from reprlib import Repr

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_LONGEST = 100  # characters of a value

_repr = Repr()
_repr.maxlevel, _repr.maxlist, _repr.maxtuple, _repr.maxdict = 2, 6, 6, 6
_repr.maxstring = _repr.maxlong = _repr.maxother = _LONGEST


def printable(text: str) -> str:
    """`text` without control characters (except tabs and line ends), direction marks and lone surrogates."""
    return _UNPRINTABLE.sub("", text)


def on_one_line(text: str) -> str:
    """`printable`, with a space for each line end and tab."""
    return printable(" ".join(text.expandtabs(1).splitlines()))


def single_spaced(text: str) -> str:
    """`printable`, with one space for any run of white space."""
    return printable(" ".join(text.split()))


def reason_of(error: Exception) -> str:
    """The message of a library's error on one line; its class where it has none."""
    return single_spaced(str(error)) or type(error).__name__


def quoted(value: object) -> str:
    """The `repr` of a value, with long values shortened and deep nesting elided."""
    try:
        return _repr.repr(value)
    except ValueError:  # Python refuses to format integers of more than 4,300 digits
        return "a number of thousands of digits"


def shortened(text: str, longest: int = 1000) -> str:
    """`text`, with its middle cut out if it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} ... ({counted(len(text) - 2 * half, 'more character')}) ... {text[-half:]}"


def counted(count: int, singular: str, plural: str = "") -> str:
    """`1 query`, `1,234 queries`. plural: if it is not formed by -s, as with a verb (`query is`, `queries are`)."""
    regular = f"{singular[:-1]}ies" if singular.endswith("y") else f"{singular}s"
    return f"{count:,} {singular if count == 1 else plural or regular}"


def command(*words: object) -> str:
    """An `acclimate` command line of these words, quoted for a shell."""
    return shlex.join(["acclimate", *map(str, words)])


def columns(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Format rows as lines with aligned columns; `align` has `<` or `>` for each column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)).rstrip()
        for row in rows
    ]
