"""E-books in EPUB: their pages in the order of reading, each as a web page (see `html`)."""

from __future__ import annotations

import posixpath
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from acclimate.corpus.formats.archive import open_archive
from acclimate.corpus.formats.charset import declared_text
from acclimate.corpus.formats.html import read_page

_CONTAINER = "META-INF/container.xml"  # names the package, which lists the pages
_PAGES = {"application/xhtml+xml", "text/html", "text/x-oeb1-document"}


def read_epub(path: Path) -> tuple[list[str], str]:
    """(the book's title, text). Raises KeyError for a part that is missing, and what parsers raise for damage."""
    with open_archive(path) as parts:
        container = ElementTree.fromstring(parts.read(_CONTAINER))
        name = next(element.attrib["full-path"] for element in container.iterfind(".//{*}rootfile"))
        package = ElementTree.fromstring(parts.read(name))
        pages = {
            item.attrib["id"]: posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(item.attrib["href"])))
            for item in package.iterfind(".//{*}item")
            if item.get("media-type") in _PAGES and "nav" not in item.get("properties", "").split()
        }
        order = [item.attrib["idref"] for item in package.iterfind(".//{*}itemref")]
        texts = [read_page(declared_text(parts.read(pages[page]), path))[1] for page in order if page in pages]
    return [package.findtext(".//{http://purl.org/dc/elements/1.1/}title", "")], "\n\n".join(filter(None, texts))
