"""OpenDocument's texts and presentations (.odt, .odp), as LibreOffice writes them.

title   what the properties say, or else the first heading
text    paragraphs and the rows of tables, a line each, with the text of boxes, and notes in brackets, without comments
        and what was deleted; slides as pages, each with its notes, without slide numbers
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from acclimate.base.errors import DataError
from acclimate.corpus.formats.archive import open_archive

_TITLE = ".//{http://purl.org/dc/elements/1.1/}title"
_SVG = "{urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0}"  # titles and descriptions of pictures
_CHARACTERS = {"tab": " ", "line-break": "\n", "s": " "}
_WITHOUT_TEXT = {"annotation", "tracked-changes", "note-citation", "page-number", "ruby-text", "forms"}


def read_open_document(path: Path) -> tuple[list[str], str]:
    """(what may be the title, text). Raises DataError for a file with a password."""
    with open_archive(path) as parts:
        if b"encryption-data" in parts.read("META-INF/manifest.xml"):
            raise DataError("needs a password", path=path)
        content = ElementTree.fromstring(parts.read("content.xml"))
        properties = ElementTree.fromstring(parts.read("meta.xml")) if "meta.xml" in parts.namelist() else content
    heading = next((_text(element) for element in content.iter() if _name(element) == "h"), "")
    slides = [element for element in content.iter() if _name(element) == "page"]
    return [properties.findtext(_TITLE, ""), heading], "\n\n".join(filter(None, map(_lines, slides or [content])))


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _lines(element: Element) -> str:
    lines = (" ".join(line.split()) for line in _text(element).split("\n"))
    return "\n".join(filter(None, lines))


def _text(element: Element) -> str:
    """The text of an element, line breaks around paragraphs and rows; other elements hold parts of them."""
    name = _name(element)
    if name in _CHARACTERS:
        return _CHARACTERS[name]
    if name in _WITHOUT_TEXT or element.tag.startswith(_SVG):
        return ""
    text = "".join([_spaced(element.text), *(_text(child) + _spaced(child.tail) for child in element)])
    match name:
        case "p" | "h":
            return f"\n{text}\n"
        case "table-row":
            return f"\n{' '.join(text.split())}\n"
        case "note":
            return f" [{' '.join(text.split())}]"
    return text


def _spaced(text: str | None) -> str:
    """Text between tags, in which the end of a line is a space."""
    return (text or "").replace("\n", " ")
