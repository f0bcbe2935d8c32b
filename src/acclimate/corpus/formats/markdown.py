"""Markdown.

title   the front matter's, or else the heading that the text begins with, which is taken out of it, or else the first
        of the first level: any other is that of a part
text    without comments, but those that its code shows; the front matter stays, as its keywords and other names of a
        thing are worth more to a search than its settings cost (docs/log.md)
others  the front matter
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

from acclimate.corpus.formats.front_matter import front_matter, title_of
from acclimate.corpus.formats.html import INLINE

_HEADING = re.compile(r" {0,3}#{1,6}[ \t]")
_UNDERLINE = re.compile(r" {0,3}(={3,}|-{3,})[ \t]*")
_IMAGE = re.compile(r"!\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])|<img\b[^<>]*>", re.IGNORECASE)
_LINK = re.compile(r"\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_SHOWN = re.compile(  # in a heading: code, escaped marks, and what is not displayed
    rf"""
    (?P<code>`+[^`]*`+) | \\(?P<mark>[!-/:-@\[-`{{-~]) | (?P<break><br\b[^<>]*>)
    | </?(?:{"|".join(sorted(INLINE))})\b[^<>]*> | <[a-z][^<>]*/>
    | (?<=.)\{{[#:][^{{}}]*\}}\s*$
    """,
    re.IGNORECASE | re.VERBOSE,
)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_COMMENT_OR_CODE = re.compile(  # parts in which a comment mark is plain text
    r"""
    (?P<comment><!--)
    | ^[ ]{0,3}(?P<fence>`{3,}+|~{3,}+)[^\n]*+\n(?:.*?^[ ]{0,3}(?P=fence)|.*)
    | ^(?:[ ]{4}|\t)[^\n]*
    | (?P<ticks>`++)(?:(?!\n\s*\n).)*?(?<!`)(?P=ticks)(?!`)
    | `+ | \\[`<]
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


def read_markdown(content: str) -> tuple[str, str, Mapping[str, Any]]:
    """(title, text, other fields) of a page."""
    others = front_matter(content)
    if title := title_of(others):
        return title, without_comments(content), others
    return *_heading_and_text(content), others


def main_heading(content: str) -> str:
    """The heading that is the title; "" if there is none."""
    return _heading_and_text(content)[0]


def without_comments(content: str) -> str:
    """Markdown without comments. An unclosed comment counts as text."""
    kept: list[str] = []
    start = place = 0
    while mark := _COMMENT_OR_CODE.search(content, place):
        place = mark.end()
        if mark["comment"]:
            end = content.find("-->", place - 2)  # <!--> is complete
            if end < 0:
                break
            kept.append(content[start : mark.start()])
            start = place = end + 3
    return "".join([*kept, content[start:]])


def _heading(line: str) -> str:
    """The text of a heading with number signs, without closing ones; "" if the line is no heading."""
    mark = _HEADING.match(line)
    title = line[mark.end() :].strip(" \t") if mark else ""
    before = title.rstrip("#")
    return before.rstrip(" \t") if before.endswith((" ", "\t")) else title


def _title(heading: str) -> str:
    """The text of a heading as it is displayed, but for its emphasis, and without images unless it is one."""
    titles = (_SHOWN.sub(_shown, _LINK.sub(r"\1", _IMAGE.sub(image, heading))) for image in ("", r"\1"))
    return next(filter(None, (" ".join(title.split()) for title in titles)), "")


def _shown(part: re.Match[str]) -> str:
    return part["code"] or part["mark"] or (" " if part["break"] else "")


def _heading_and_text(content: str) -> tuple[str, str]:
    """(the title among the headings, "" if there is none; text without comments, and without it at its beginning)."""
    content = without_comments(content)
    lines = list(io.StringIO(content, newline=""))  # not splitlines: other Unicode separators end no line
    start = next((n for n, line in enumerate(lines) if line.strip()), 0)
    first = start
    if lines and (mark := lines[start].rstrip()) in ("---", "+++"):  # front matter is no heading
        start = next((n for n in range(start + 1, len(lines)) if lines[n].rstrip() in (mark, "...")), start) + 1
    begins = next((n for n in range(start, len(lines)) if lines[n].strip()), start)
    for n, after, level, title in _headings(lines, start):
        if n == begins or level == 1:
            return title, "".join(lines[after:]).lstrip("\r\n") if n == first else content
    return "", content


def _headings(lines: list[str], start: int) -> Iterator[tuple[int, int, int, str]]:
    """(number of its line, number of the line behind it, level, text) of each heading from line `start`."""
    fence = ""
    for n in range(start, len(lines)):
        line = lines[n].rstrip()
        if mark := _FENCE.match(line):
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        elif fence:
            continue
        elif (heading := _heading(line)) and (title := _title(heading)):
            yield n, n + 1, len(line.split()[0]), title
        elif n + 1 < len(lines) and (under := _UNDERLINE.fullmatch(lines[n + 1].rstrip())) and (title := _title(line)):
            yield n, n + 2, 1 if under[1][0] == "=" else 2, title
