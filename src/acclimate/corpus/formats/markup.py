"""reStructuredText and AsciiDoc: their titles; most other marks stay in the text.

title   the first heading, taken out of the text when nothing that a reader sees comes before it
text    reStructuredText: roles are what they show: of :ref:`the title <label>`, the title
"""

from __future__ import annotations

import io
import re
from unicodedata import east_asian_width

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1{2,}")  # of a title: a line of one punctuation character
_UNSEEN = re.compile(r"\s|\.\.(\s|$)|:[^:]+:|//")  # begins comments, labels, fields and what is indented below them
_ROLE = re.compile(r":[\w.+-]+(?::[\w.+-]+)?:`[~!]?([^`<]*)(?:<[^`]*>)?`")
_ASCIIDOC_TITLE = re.compile(r"[=#][ \t]+(\S.*)")


def read_rst(content: str) -> tuple[str, str]:
    """(title, text) of reStructuredText: a title is underlined in at least its width, and may be overlined."""
    content = _ROLE.sub(lambda role: role[1].rstrip(), content)
    lines = _lines(content)
    for number, line in enumerate(lines[:-1]):
        title, under = line.strip(), lines[number + 1].rstrip()
        if title and _ADORNMENT.fullmatch(under) and not _ADORNMENT.fullmatch(title) and len(under) >= _width(title):
            before = lines[:number]
            if before and before[-1].rstrip() == under:  # the overline
                before.pop()
            return title, _after(before, lines[number + 2 :], content)
    return "", content


def read_asciidoc(content: str) -> tuple[str, str]:
    """(title, text) of AsciiDoc: a document's title is `= Title`."""
    lines = _lines(content)
    for number, line in enumerate(lines):
        if match := _ASCIIDOC_TITLE.fullmatch(line.rstrip()):
            return match[1], _after(lines[:number], lines[number + 1 :], content)
    return "", content


def _lines(content: str) -> list[str]:
    return list(io.StringIO(content, newline=""))  # not splitlines: other Unicode separators end no line


def _after(before: list[str], after: list[str], content: str) -> str:
    """What follows a title, or everything if a reader sees something before it."""
    seen = any(line.strip() and not _UNSEEN.match(line) for line in before)
    return content if seen else "".join(after).lstrip("\r\n")


def _width(title: str) -> int:
    """Columns, as docutils counts them: a full-width character takes two."""
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in title)
