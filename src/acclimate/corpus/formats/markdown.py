"""Markdown.

title   the front matter's, or else the first heading, taken out of the text when the file begins with it
text    without comments, but those that its code shows; the front matter stays, as its keywords and other names of a
        thing are worth more to a search than its settings cost (docs/log.md)
others  the front matter
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

_HEADING = re.compile(r" {0,3}#{1,6}[ \t]")
_UNDERLINE = re.compile(r" {0,3}(={3,}|-{3,})[ \t]*")
_IMAGE = re.compile(r"!\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])|<img\b[^<>]*>", re.IGNORECASE)
_LINK = re.compile(r"\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_FRONT_MATTER = re.compile(
    r"\ufeff?(?P<mark>---|\+\+\+)[ \t]*\r?\n(?P<fields>.*?)^(?:(?P=mark)|\.\.\.)[ \t]*\r?$", re.DOTALL | re.MULTILINE
)
_MERGE = re.compile(r"<<\s*:")  # a few lines of YAML with merged mappings may expand to billions
_LONGEST_FRONT_MATTER = 20_000  # characters
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
    if isinstance(title := others.get("title"), str) and title.strip():
        return " ".join(title.split()), without_comments(content), others
    return *_heading_and_text(content), others


def front_matter(content: str) -> Mapping[str, Any]:
    """The front matter, YAML, or TOML between plus signs as Hugo has it; {} if there is none."""
    match = _FRONT_MATTER.match(content)
    if match is None or len(match["fields"]) > _LONGEST_FRONT_MATTER or _MERGE.search(match["fields"]):
        return {}
    import tomllib

    import yaml

    try:
        fields = (tomllib.loads if match["mark"] == "+++" else yaml.safe_load)(match["fields"].replace("\r\n", "\n"))
    except (yaml.YAMLError, ValueError, RecursionError):  # a date of the 31st of February
        return {}
    return fields if isinstance(fields, dict) else {}


def first_heading(content: str) -> str:
    """The first heading; "" if there is none."""
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
    """The text of a heading, with the texts of its links, and without images unless it is one."""
    titles = (_LINK.sub(r"\1", _IMAGE.sub(image, heading)) for image in ("", r"\1"))
    return next(filter(None, (" ".join(title.split()) for title in titles)), "")


def _heading_and_text(content: str) -> tuple[str, str]:
    """(first heading, "" if there is none; text without comments, and without the heading if it begins with it)."""
    content = without_comments(content)
    lines = list(io.StringIO(content, newline=""))  # not splitlines: other Unicode separators end no line
    start = next((n for n, line in enumerate(lines) if line.strip()), 0)
    first, fence = start, ""
    if lines and (mark := lines[start].rstrip()) in ("---", "+++"):  # front matter is no heading
        start = next((n for n in range(start + 1, len(lines)) if lines[n].rstrip() in (mark, "...")), start) + 1
    for n in range(start, len(lines)):
        line = lines[n].rstrip()
        if mark := _FENCE.match(line):
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        elif not fence and (heading := _heading(line)) and (title := _title(heading)):
            return title, "".join(lines[n + 1 :]).lstrip("\r\n") if n == first else content
        elif (
            not fence and n + 1 < len(lines) and _UNDERLINE.fullmatch(lines[n + 1].rstrip()) and (title := _title(line))
        ):
            return title, "".join(lines[n + 2 :]).lstrip("\r\n") if n == first else content
    return "", content
