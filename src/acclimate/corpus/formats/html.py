"""The visible text of a web page, without its navigation.

A page that marks its main content (`<main>`, or `role="main"`, as Sphinx writes it) is that content alone: menus and
sidebars are the same on all pages of a site, and often fill the part of a text that an encoder reads. Of other pages,
`<nav>` is left out. A page with nothing else keeps it.

The page is tokenized as in the HTML standard (html.spec.whatwg.org, 13.2.5); of the tree only the open elements are
kept. So the time grows with the length, however deeply or badly a page is nested: parsers that build the tree search
all open elements at each end tag.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "object", "iframe"})
INLINE = frozenset(
    "a abbr b bdi bdo cite code dfn em font i ins del kbd label mark q s samp small span strike strong sub sup "
    "time tt u var wbr".split()
)
_WITHIN_A_LINE = INLINE | HIDDEN | {"title"}
_EMPTY = frozenset(
    "area base br col embed hr img input link meta param source track wbr".split()
)  # void elements, without end tag
_RAW = {  # elements whose content is raw text
    name: re.compile(rf"</{name}(?=[\s/>])", re.ASCII | re.IGNORECASE)
    for name in ("script", "style", "iframe", "title", "textarea")
}
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*+)")
_REST_OF_TAG = re.compile(r"""(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+')?+)*+>""")  # > inside quotes does not end it
_COMMENT_END = re.compile(r"--!?>")
_LANDMARK = re.compile(r"""\srole\s*=\s*["']?(main|navigation)\b""", re.ASCII | re.IGNORECASE)
_HIDDEN, _MAIN, _NAVIGATION = "hidden", "main", "nav"  # roles

Kind = Literal["start", "end", "text"]


def read_page(page: str) -> tuple[str, str]:
    """(title, text with one line per block, without scripts, styles, navigation and other invisible content)."""
    title: list[str] = []
    everything: list[str] = []
    content: list[str] = []  # without navigation
    main: list[str] = []  # of that, what is inside of the main element
    opened: list[tuple[str, str]] = []  # the elements that are not closed, the outermost first, with their roles
    count: Counter[str] = Counter()  # of each element
    roles: Counter[str] = Counter()  # of each role

    def add(text: str) -> None:
        everything.append(text)
        if not roles[_NAVIGATION]:
            content.append(text)
            if roles[_MAIN]:
                main.append(text)

    for kind, value, attributes in _tokens(page):
        if kind == "text":
            if not roles[_HIDDEN]:
                text = _unescaped(value).replace("\n", " ")
                title.append(text) if opened and opened[-1][0] == "title" else add(text)
            continue
        if value not in _WITHIN_A_LINE:
            add("\n")
        if kind == "start":
            role = _role(value, attributes)
            opened.append((value, role))
            count[value] += 1
            roles[role] += 1
        elif count[value]:
            closed = ""
            while closed != value:  # also closes unclosed elements inside it
                closed, role = opened.pop()
                count[closed] -= 1
                roles[role] -= 1
    texts = (_lines(parts) for parts in (main, content, everything))
    return " ".join("".join(title).split()), next(filter(None, texts), "")


def _role(name: str, attributes: str) -> str:
    """What an element is: hidden, the main content, navigation, or "" for none of them."""
    if name in HIDDEN:
        return _HIDDEN
    if name in (_MAIN, _NAVIGATION):
        return name
    landmark = _LANDMARK.search(attributes)
    return "" if landmark is None else _MAIN if landmark[1].lower() == "main" else _NAVIGATION


def _lines(parts: list[str]) -> str:
    lines = (" ".join(line.split()) for line in "".join(parts).split("\n"))
    return "\n".join(line for line in lines if line)


def _tokens(page: str) -> Iterator[tuple[Kind, str, str]]:
    """Tags by lower-case name, with their attributes, and the text between them; void elements end at once."""
    place = 0
    while (start := page.find("<", place)) >= 0:
        yield "text", page[place:start], ""
        if tag := _TAG.match(page, start):
            rest = _REST_OF_TAG.match(page, tag.end())
            if rest is None:
                return
            place, name = rest.end(), tag[2].lower()
            if tag[1]:
                yield "end", name, ""
                continue
            yield "start", name, rest[0]
            if name in _EMPTY or (page[place - 2] == "/" and name not in _RAW):
                yield "end", name, ""
            elif name in _RAW:
                end = _RAW[name].search(page, place)
                yield "text", page[place : end.start() if end else len(page)], ""
                place = end.start() if end else len(page)
        elif page.startswith(("<!", "<?", "</"), start):
            is_comment = page.startswith("<!--", start)
            end = (_COMMENT_END if is_comment else re.compile(">")).search(page, start + 2)
            if end is None:
                return
            place = end.end()
        else:
            yield "text", "<", ""
            place = start + 1
    yield "text", page[place:], ""


def _unescaped(text: str) -> str:
    with suppress(ValueError):  # no character has a number of thousands of digits
        return html.unescape(text) if "&" in text else text
    return text
