"""The visible text of a web page, without its navigation.

A page that marks its main content (`<main>`, or `role="main"`, as Sphinx writes it) is that content alone: menus and
sidebars are the same on all pages of a site, and often fill the part of a text that an encoder reads. Of other pages,
`<nav>` and what DocBook and Doxygen put around a page are left out, and lists of nothing but links before the first
heading or paragraph below the page's header, which are menus. So are elements that are not displayed (`hidden`, or
`display: none` in `style`), except panels of tabs, which a reader opens. A page with nothing else keeps it. A page that
sends its reader to another within seconds is empty.

The page is tokenized as in the HTML standard (html.spec.whatwg.org, 13.2.5); of the tree only the open elements are
kept. So the time grows with the length, however deeply or badly a page is nested: parsers that build the tree search
all open elements at each end tag.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "object", "iframe"})
INLINE = frozenset(
    "a abbr b bdi bdo cite code dfn em font i ins del kbd label mark q s samp small span strike strong sub sup "
    "time tt u var wbr".split()
)
_CELLS = frozenset({"td", "th"})  # of a row, which is a line
_WITHIN_A_LINE = INLINE | HIDDEN | _CELLS | {"title"}
_LISTS = frozenset({"ul", "ol"})
_SECTIONS = frozenset({"article", "section"})  # whose headers are no header of the page
_BEGINNING = frozenset("p h1 h2 h3 h4 h5 h6".split())  # of the content, if menus come before it
_PERMALINKS = frozenset("¶#§")  # links from a heading to itself
_BLOCKS = _BEGINNING | frozenset(
    "address article aside blockquote details dialog div dl fieldset figure footer form header hr main menu nav ol pre "
    "section table ul".split()
)
_TERMS = frozenset({"dt", "dd"})
_ROWS = frozenset({"tr", "tbody", "thead", "tfoot"})
_ENDED_BY = {  # elements whose end tag may be left out, and what begins behind them then
    "p": _BLOCKS,
    "li": frozenset({"li"}),
    "dt": _TERMS,
    "dd": _TERMS,
    "td": _ROWS | _CELLS,
    "th": _ROWS | _CELLS,
    "tr": _ROWS,
}
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
_ATTRIBUTE = re.compile(r"""([^\s=/>"']++)\s*+(?:=\s*+("[^"]*+"|'[^']*+'|[^\s>]*+))?""")
_DISPLAY_NONE = re.compile(r"(?:^|;)\s*display\s*:\s*none\b", re.IGNORECASE)
_REDIRECT = re.compile(
    r"""(?=[^>]*\shttp-equiv\s*=\s*["']?refresh\b)[^>]*\scontent\s*=\s*["']?\s*\d(?:\.\d+)?\s*[;,]\s*url\b""",
    re.ASCII | re.IGNORECASE,
)
_LANDMARK = re.compile(r"""\srole\s*=\s*["']?(main|navigation)\b""", re.ASCII | re.IGNORECASE)
_AROUND = re.compile(  # a page: bars of DocBook; of Doxygen the project's name, the path to the page, and its search
    r"""\s(?:class\s*=\s*["']?nav(?:header|footer)|id\s*=\s*["']?(?:titlearea|nav-path|MSearch\w+))\b""",
    re.ASCII | re.IGNORECASE,
)
_STATUS = re.compile(r"""\sclass\s*=\s*["']?SRStatus\b""", re.ASCII)  # of Doxygen's search, while a script runs
_SITE = re.compile(r"\s+[^\w\s]{1,3}\s+\S.*")  # beside the title of a page, read from there
_LONGEST = 500  # characters of a title that may name a site: all headings are compared with it
_HIDDEN, _MAIN, _NAVIGATION = "hidden", "main", "nav"  # roles

Kind = Literal["start", "end", "text"]


def read_page(page: str) -> tuple[str, str]:
    """(title, text with one line per block, without scripts, styles, navigation and other invisible content).

    The title is without the name of the site; that of a page without one is its first heading of the first level.
    """
    reader = _Reader()
    for kind, value, attributes in _tokens(page):
        if kind == "text":
            reader.text(value)
            continue
        if value in _CELLS:
            reader.add(" ")
        elif value not in _WITHIN_A_LINE:
            reader.add("\n")
        if kind == "start":
            reader.start(value, attributes)
        else:
            reader.end(value)
    if reader.redirects:
        return "", ""
    title, *headings = (
        " ".join("".join(parts).split()) for parts in (reader.title, *(heading.parts for heading in reader.headings))
    )
    of_page = [text for text, heading in zip(headings, reader.headings, strict=True) if not heading.is_of_site]
    texts = (_lines(parts) for parts in (reader.main, reader.content, reader.everything))
    return _without_site(title, of_page) or next(filter(None, headings), ""), next(filter(None, texts), "")


def _without_site(title: str, headings: Sequence[str]) -> str:
    """The heading that a title has beside the name of the site: `a` of `a - docs` and `docs :: a`; else the title."""
    beside = [
        heading
        for heading in (headings if len(title) <= _LONGEST else ())
        if heading and any(map(_SITE.fullmatch, (title.removeprefix(heading), title.removesuffix(heading)[::-1])))
    ]
    return max(beside, key=len, default=title)


@dataclass
class _Heading:
    """A heading of the first level."""

    parts: list[str] = field(default_factory=list)
    is_of_site: bool = False  # links to it, or is in the page's header


class _Reader:
    """The parts of a page, as its tokens come."""

    def __init__(self) -> None:
        self.title: list[str] = []
        self.headings: list[_Heading] = []
        self.everything: list[str] = []
        self.content: list[str] = []  # without navigation
        self.main: list[str] = []  # of that, what is inside of the main element
        self.redirects = False
        self._opened: list[tuple[str, str]] = []  # elements that are not closed, the outermost first, with their roles
        self._count: Counter[str] = Counter()  # of each element
        self._roles: Counter[str] = Counter()  # of each role
        self._menus: _Menus | None = _Menus()  # in the content; none after its beginning

    def text(self, value: str) -> None:
        if self._roles[_HIDDEN]:
            return
        text = _unescaped(value)
        if not self._count["pre"]:
            text = text.replace("\n", " ")
        if self._opened and self._opened[-1][0] == "title":
            self.title.append(text)
        elif not (self._count["a"] and text.strip() in _PERMALINKS):
            self.add(text)
            if self._count["h1"]:
                self.headings[-1].parts.append(text)
                self.headings[-1].is_of_site |= self._count["a"] > 0 or self._is_in_page_header()
            if self._menus and not self._count["a"] and any(map(str.isalnum, text)):
                self._menus.add_text()

    def add(self, text: str) -> None:
        self.everything.append(text)
        if not self._roles[_NAVIGATION]:
            self.content.append(text)
            if self._roles[_MAIN]:
                self.main.append(text)

    def start(self, name: str, attributes: str) -> None:
        while self._opened and name in _ENDED_BY.get(self._opened[-1][0], ()):
            self.end(self._opened[-1][0])
        role = _role(name, attributes)
        if name == "meta" and not self._roles[_HIDDEN] and _REDIRECT.match(attributes):
            self.redirects = True
        if name == "h1":
            self.headings.append(_Heading())
        self._opened.append((name, role))
        self._count[name] += 1
        self._roles[role] += 1
        if self._menus and name in _LISTS:
            self._menus.open_list(len(self.content))
        elif self._menus and name in _BEGINNING and not self._roles[_NAVIGATION] and not self._is_in_page_header():
            for menu in reversed(self._menus.closed):
                del self.content[menu]
            self._menus = None

    def end(self, name: str) -> None:
        if not self._count[name]:
            return
        closed = ""
        while closed != name:  # also closes unclosed elements inside it
            closed, role = self._opened.pop()
            self._count[closed] -= 1
            self._roles[role] -= 1
            if self._menus and closed in _LISTS:
                self._menus.close_list(len(self.content))

    def _is_in_page_header(self) -> bool:
        return self._count["header"] > 0 and not any(self._count[name] for name in _SECTIONS)


class _Menus:
    """Lists of nothing but links."""

    def __init__(self) -> None:
        self.closed: list[slice] = []  # without those inside others
        self._opened: list[int] = []  # where lists start that are not closed, the outermost first
        self._n_texts = 0  # of these, how many have text besides their links, or are around one that has

    def open_list(self, place: int) -> None:
        self._opened.append(place)

    def add_text(self) -> None:
        self._n_texts = len(self._opened)

    def close_list(self, place: int) -> None:
        start = self._opened.pop()
        if self._n_texts <= len(self._opened):
            while self.closed and self.closed[-1].start >= start:
                self.closed.pop()
            self.closed.append(slice(start, place))
        self._n_texts = min(self._n_texts, len(self._opened))


def _role(name: str, attributes: str) -> str:
    """What an element is: hidden, the main content, navigation, or "" for none of them."""
    if name in HIDDEN or _STATUS.search(attributes):
        return _HIDDEN
    if name not in ("html", "body") and _is_undisplayed(attributes):
        return _NAVIGATION
    if name in (_MAIN, _NAVIGATION):
        return name
    if _AROUND.search(attributes):
        return _NAVIGATION
    landmark = _LANDMARK.search(attributes)
    return "" if landmark is None else _MAIN if landmark[1].lower() == "main" else _NAVIGATION


def _is_undisplayed(attributes: str) -> bool:
    """True if these attributes keep an element from being displayed; pages that a script shows are displayed."""
    if not re.search("hidden|display", attributes, re.IGNORECASE):
        return False
    values = {name.lower(): value.strip("\"' ").lower() for name, value in _ATTRIBUTE.findall(attributes)}
    if values.get("role") == "tabpanel":
        return False
    return values.get("hidden", "until-found") != "until-found" or bool(_DISPLAY_NONE.search(values.get("style", "")))


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
            if name in _EMPTY or (_ends_itself(rest[0]) and name not in _RAW):
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


def _ends_itself(rest_of_tag: str) -> bool:
    """True for `<a name="b"/>`, of XHTML; False for `<a href=b/>`, of minified pages, whose slash is in the value."""
    *_, last = rest_of_tag[:-1].rsplit(maxsplit=1) or [""]
    value = last.partition("=")[2]
    return last.endswith("/") and (not value or value[0] in "\"'")


def _unescaped(text: str) -> str:
    with suppress(ValueError):  # no character has a number of thousands of digits
        return html.unescape(text) if "&" in text else text
    return text
