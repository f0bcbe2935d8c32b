"""A folder of text, Markdown and HTML files: one document per file, its id the path below the folder, with slashes.

title   Markdown: the first heading, taken out of the text when the file begins with it; HTML: <title>; text: none
text    text and Markdown as they are; HTML without tags, scripts and styles

Hidden files and folders are passed over, and so are links that lead out of the folder. Empty files and files of other
types are counted. A file that is not UTF-8 text is an error: a corpus with silent holes is worse than no corpus.
"""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from acclimate.errors import DataError
from acclimate.formats.fields import Located, Place
from acclimate.records import Doc

MARKDOWN, HTML, TEXT = frozenset({".md", ".markdown"}), frozenset({".html", ".htm"}), frozenset({".txt"})

_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(?P<title>.*?)[ \t]*(?:[ \t]#+)?[ \t]*")
_UNDERLINE = re.compile(r" {0,3}(={3,}|-{3,})[ \t]*")
_FENCE = re.compile(r" {0,3}(```|~~~)")


def read_folder(folder: Path) -> Located[Doc]:
    """The docs in the order of their ids, streamed; `dropped` counts the files that gave none, by reason."""
    files, dropped = find_files(folder)
    return Located(_docs(folder, files, dropped), dropped=dropped)


def find_files(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The files that are documents, sorted by id, and how many others there are, by reason."""
    if not folder.is_dir():
        raise DataError("is a file; expected a folder" if folder.exists() else "no such folder", path=folder)
    found: list[Path] = []
    dropped: Counter[str] = Counter()
    inside = folder.resolve()

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot be read: {error.strerror}", path=error.filename)

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        dropped["link to a folder"] += sum(Path(parent, name).is_symlink() for name in folders)
        for path in (Path(parent, name) for name in names if not name.startswith(".")):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                dropped["link out of the folder"] += 1
            elif path.suffix.lower() not in MARKDOWN | HTML | TEXT:
                dropped[f"{path.suffix.lower() or 'no'} file type"] += 1
            else:
                found.append(path)
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix()), dropped


def _docs(folder: Path, files: list[Path], dropped: Counter[str]) -> Iterator[tuple[Place, Doc]]:
    found = 0
    for path in files:
        content = _read(path)
        kind = path.suffix.lower()
        title, text = _html(content) if kind in HTML else _markdown(content) if kind in MARKDOWN else ("", content)
        if not (title or text.strip()):
            dropped["empty file"] += 1
            continue
        found += 1
        yield Place(path), Doc(path.relative_to(folder).as_posix(), text, title)
    if not found:
        others = ", ".join(f"{reason}: {count}" for reason, count in sorted(dropped.items()) if count)
        raise DataError(
            f"no documents in this folder{f' (passed over: {others})' if others else ''}; expected a corpus.jsonl, or "
            "files that end in .txt, .md or .html",
            path=folder,
        )


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from None
    if b"\0" in content:
        raise DataError("has a zero byte, so it is no UTF-8 text; save it as UTF-8 or take it away", path=path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8", path=path, line=line
        ) from None


def _markdown(content: str) -> tuple[str, str]:
    lines = list(io.StringIO(content, newline=""))  # not splitlines: other Unicode separators end no line
    at = next((n for n, line in enumerate(lines) if line.strip()), 0)
    first, fence = at, ""
    if lines and lines[at].rstrip() == "---":  # front matter is no heading
        at = next((n for n in range(at + 1, len(lines)) if lines[n].rstrip() in ("---", "...")), at) + 1
    for n in range(at, len(lines)):
        line = lines[n].rstrip()
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1] else fence or mark[1]
        elif not fence and (heading := _HEADING.fullmatch(line)) and heading["title"]:
            return heading["title"], "".join(lines[n + 1 :]).lstrip("\r\n") if n == first else content
        elif not fence and line.strip() and n + 1 < len(lines) and _UNDERLINE.fullmatch(lines[n + 1].rstrip()):
            return line.strip(), "".join(lines[n + 2 :]).lstrip("\r\n") if n == first else content
    return "", content


def _html(content: str) -> tuple[str, str]:
    page = _Page()
    page.feed(content)
    page.close()
    lines = (" ".join(line.split()) for line in "".join(page.text).splitlines())
    return " ".join("".join(page.title).split()), "\n".join(line for line in lines if line)


class _Page(HTMLParser):
    """Collects what a reader of the page sees: `title` and `text`, a line end at each border of a block."""

    HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "object", "iframe"})
    INLINE = frozenset(
        "a abbr b bdi bdo cite code dfn em font i ins del kbd label mark q s samp small span strike strong sub sup "
        "time tt u var wbr".split()
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self.text: list[str] = []
        self._inside: list[str] = []  # open hidden elements, or the title

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        return self.parse_bogus_comment(i)  # as browsers do; the inherited one raises AssertionError on `<![x!`

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.HIDDEN or (tag == "title" and not self._inside):
            self._inside.append(tag)
        elif tag not in self.INLINE:
            self.text.append("\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.INLINE and tag not in self.HIDDEN:
            self.text.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass
        elif tag not in self.INLINE | self.HIDDEN | {"title"}:
            self.text.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.text.append(" ".join(data.split("\n")))
        elif self._inside == ["title"]:
            self.title.append(data)
