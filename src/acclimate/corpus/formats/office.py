"""PDF and Word files, each read by a package of its own: `pip install 'acclimate[pdf]'`, `'acclimate[docx]'`.

title   what the file's properties say, if its text begins with it or has it on the first page; else none
text    PDF: pages, a blank line between them, words put together that a line's end divides; Word: paragraphs and the
        rows of tables, a line each
"""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

from acclimate.base.errors import DataError
from acclimate.base.files import LONGEST

_DIVIDED = re.compile(r"(?<=[^\W\d_])-\n(?=[^\W\d_])")  # by a hyphen at the end of a line
_LETTERS = {ord(ligature): normalize("NFKC", ligature) for ligature in "ﬀﬁﬂﬃﬄﬅﬆ"} | {0xAD: ""}  # and soft hyphens
_FIRST_PAGE = 3_000  # characters in which a title is looked for


class _Format(NamedTuple):
    """How files with a suffix are read."""

    name: str
    package: str  # as it is imported
    read: Callable[[Path], tuple[str, str]]  # (title in the properties, text)


def needs(suffix: str) -> str:
    """The extra that must be installed to read files with this suffix; "" if none must."""
    return "" if find_spec(FORMATS[suffix].package) else f"acclimate[{suffix.removeprefix('.')}]"


def read(path: Path) -> tuple[str, str]:
    """(title, text) of a file. Raises DataError for one that cannot be read."""
    kind = FORMATS[path.suffix.lower()]
    try:
        title, text = kind.read(path)
    except DataError:
        raise
    except Exception as error:  # parsers meet damage of any kind anywhere
        what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise DataError(f"cannot be read as {kind.name} ({what})", path=path) from None
    title, text = (_valid(part) for part in (title, text))
    title = " ".join(title.split())
    start = " ".join(text[:_FIRST_PAGE].split())
    return title if title and title.casefold() in start.casefold() else "", text


def _valid(text: str) -> str:
    """Text in letters as people type them, without what UTF-8 cannot hold, and without NUL."""
    return text.translate(_LETTERS).encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _pdf(path: Path) -> tuple[str, str]:
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it says of every odd object how it reads it
    with pypdf.PdfReader(path) as reader:
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError("needs a password", path=path)
        pages = (_DIVIDED.sub("", page.extract_text()).strip() for page in reader.pages)
        title = reader.metadata.title if reader.metadata else None
        return title or "", "\n\n".join(filter(None, pages))


def _word(path: Path) -> tuple[str, str]:
    import docx

    with zipfile.ZipFile(path) as parts:
        if sum(part.file_size for part in parts.infolist()) > 10 * LONGEST:
            raise DataError(f"holds more than {10 * LONGEST:,} bytes", path=path)
    document = docx.Document(str(path))
    return document.core_properties.title or "", "\n".join(_lines(document))


def _lines(part: Any) -> Iterator[str]:
    """The paragraphs of a document or of a cell, and the rows of its tables."""
    for block in part.iter_inner_content():
        if hasattr(block, "rows"):
            for row in block.rows:
                cells = dict.fromkeys(row.cells)  # one that spans several columns is there several times
                yield " ".join(line for cell in cells for line in _lines(cell))
        elif text := block.text.strip():
            yield text


FORMATS = {".pdf": _Format("PDF", "pypdf", _pdf), ".docx": _Format("Word's .docx", "docx", _word)}
