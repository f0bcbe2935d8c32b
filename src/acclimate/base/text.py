"""Texts of others (documents, answers, names, values) as messages and terminals show them.

What a terminal would obey or turn around is taken out, and what is long is cut.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from reprlib import Repr

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_LONGEST = 100  # characters of a value

_repr = Repr()
_repr.maxlevel, _repr.maxlist, _repr.maxtuple, _repr.maxdict = 2, 6, 6, 6
_repr.maxstring = _repr.maxlong = _repr.maxother = _LONGEST


def printable(text: str) -> str:
    """`text` without control characters but tabs and line ends, marks of reading direction, and half characters."""
    return _OBEYED.sub("", text)


def on_one_line(text: str) -> str:
    """The same, with a blank for each line end and tab."""
    return printable(" ".join(text.expandtabs(1).splitlines()))


def single_spaced(text: str) -> str:
    """The same, with one blank for any white space."""
    return printable(" ".join(text.split()))


def quoted(value: object) -> str:
    """A value as Python writes it, without the middle of a long one and the depths of a nested one."""
    try:
        return _repr.repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"


def shortened(text: str, longest: int = 1000) -> str:
    """`text`, without its middle where it is longer than so many characters."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} ... ({len(text) - 2 * half:,} more characters) ... {text[-half:]}"


def command(*words: object) -> str:
    """What to type: `acclimate` and these words, quoted where a shell would cut them."""
    return shlex.join(["acclimate", *map(str, words)])


def columns(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Rows as lines of equally wide columns; `align` has `<` or `>` for each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)).rstrip()
        for row in rows
    ]
