"""PDF, Word and PowerPoint files, each read by a package of its own: `pip install 'acclimate[pdf,docx,pptx]'`.

title   what the file's properties say, or else Word's first title or heading, or the first slide's title, if the text
        begins with it or has it on the first page; else none
text    PDF: pages, a blank line between them, words put together that a line's end divides; Word: paragraphs and the
        rows of tables, a line each, with the text of forms, boxes and insertions, without what was deleted;
        PowerPoint: slides as pages, each with its notes, without slide numbers and dates
"""

from __future__ import annotations

import re
import threading
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

from acclimate.base.errors import DataError
from acclimate.base.files import LONGEST

_DIVIDED = re.compile(r"\x02(.?)")  # PDFium's mark for a hyphen between a letter and the next line's first character
_LEADER = re.compile(r"(?: ?\.){4,}")  # from an entry of a table of contents to its page
_LETTERS = {ord(ligature): normalize("NFKC", ligature) for ligature in "ﬀﬁﬂﬃﬄﬅﬆ"} | {0xAD: ""}  # and soft hyphens
_FIRST_PAGE = 3_000  # characters in which a title is looked for
_HEADINGS = {"Title", "Heading 1"}  # styles, whatever the language
_CHARACTERS = {"br": "\n", "cr": "\n", "tab": "\t", "ptab": "\t", "noBreakHyphen": "-"}  # elements of XML
_WITHOUT_TEXT = {"pPr", "rPr", "moveFrom", "rt", "Fallback", "fld"}
_OLE = b"\xd0\xcf\x11\xe0"  # what files of Office begin with that are no archives
_RELATIONS = "_rels/.rels"  # a part of every archive
_STRICT, _USUAL = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/"), rb"http://schemas.openxmlformats.org/\1/2006/"
_PDFIUM = threading.Lock()  # it is not safe for threads


class _Format(NamedTuple):
    """How files with a suffix are read."""

    name: str
    package: str  # as it is imported
    read: Callable[[Path], tuple[list[str], str]]  # (what may be the title, the best first; text)


def needs(suffix: str) -> str:
    """The extra that must be installed to read files with this suffix; "" if none must."""
    return "" if find_spec(FORMATS[suffix].package) else f"acclimate[{suffix.removeprefix('.')}]"


def read(path: Path) -> tuple[str, str]:
    """(title, text) of a file. Raises DataError for one that cannot be read."""
    kind = FORMATS[path.suffix.lower()]
    try:
        titles, text = kind.read(path)
    except DataError:
        raise
    except Exception as error:  # parsers meet damage of any kind anywhere
        what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise DataError(f"cannot be read as {kind.name} ({what})", path=path) from None
    text = _valid(text)
    start = _plain(text[:_FIRST_PAGE])
    spaced = (" ".join(_valid(title).split()) for title in titles)
    return next((title for title in spaced if _plain(title) and _plain(title) in start), ""), text


def _plain(text: str) -> str:
    """Letters and digits alone: pages have other quotation marks and line breaks than properties."""
    return "".join(filter(str.isalnum, text.casefold()))


def _valid(text: str) -> str:
    """Text in letters as people type them, without what UTF-8 cannot hold, and without NUL."""
    return text.translate(_LETTERS).encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _pdf(path: Path) -> tuple[list[str], str]:
    import pypdfium2

    with _PDFIUM:
        try:
            document = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
                raise DataError("needs a password", path=path) from None
            raise
        with document:
            pages = [_page(page.get_textpage().get_text_bounded()) for page in document]
            return [document.get_metadata_value("Title")], "\n\n".join(filter(None, pages))


def _page(text: str) -> str:
    """The text of a page. A hyphen at the end of a line is kept before a capital or a number: it is the word's own."""
    text = _DIVIDED.sub(lambda mark: mark[1] if mark[1].islower() else f"-{mark[1]}", text.replace("\r\n", "\n"))
    return _LEADER.sub(" ...", text).strip()


def _word(path: Path) -> tuple[list[str], str]:
    import docx

    document = docx.Document(_archive(path))
    headings = (
        paragraph.text for paragraph in document.paragraphs if (style := paragraph.style) and style.name in _HEADINGS
    )
    return [document.core_properties.title or "", next(headings, "")], _lines(document.element.body)


def _powerpoint(path: Path) -> tuple[list[str], str]:
    import pptx

    presentation = pptx.Presentation(_archive(path))
    headings, pages = list[str](), list[str]()
    for slide in presentation.slides:
        headings += [title.text_frame.text] if (title := slide.shapes.title) else []
        notes = _lines(slide.notes_slide.element) if slide.has_notes_slide else ""
        pages.append("\n".join(filter(None, (_lines(slide.element), notes))))
    return [presentation.core_properties.title, *headings[:1]], "\n\n".join(filter(None, pages))


def _archive(path: Path) -> str | BytesIO:
    """The archive that an office file is; of Strict Open XML, a copy with the names of the usual kind, which are read.

    Raises DataError for an archive that would fill the memory, and for a file with a password, which is none.
    """
    with path.open("rb") as file:
        if file.read(len(_OLE)) == _OLE:
            raise DataError("has a password, or is of Office before 2007; save it anew without one", path=path)
    with zipfile.ZipFile(path) as parts:
        if sum(part.file_size for part in parts.infolist()) > 10 * LONGEST:
            raise DataError(f"holds more than {10 * LONGEST:,} bytes", path=path)
        if not _STRICT.search(parts.read(_RELATIONS)):
            return str(path)
        copy = BytesIO()
        with zipfile.ZipFile(copy, "w") as renamed:
            for name in parts.namelist():
                renamed.writestr(name, _STRICT.sub(_USUAL, parts.read(name)))
    return copy


def _lines(element: Any) -> str:
    """The lines of text in an element of Word's or PowerPoint's XML."""
    return "\n".join(filter(None, (line.strip() for line in _text(element).split("\n"))))


def _text(element: Any) -> str:
    """The text of an element of Word's or PowerPoint's XML, line breaks around paragraphs and rows.

    Other elements hold parts of them. Moved text is where it went; a fallback repeats a box for older programs; fields
    are numbers and dates of slides.
    """
    _, _, name = str(element.tag).rpartition("}")
    if name == "t":
        return element.text or ""
    if name in _CHARACTERS:
        return _CHARACTERS[name]
    if name in _WITHOUT_TEXT:
        return ""
    text = "".join(map(_text, element))
    return f"\n{text}\n" if name == "p" else f"\n{' '.join(text.split())}\n" if name == "tr" else text


FORMATS = {
    ".pdf": _Format("PDF", "pypdfium2", _pdf),
    ".docx": _Format("Word's .docx", "docx", _word),
    ".pptx": _Format("PowerPoint's .pptx", "pptx", _powerpoint),
}
