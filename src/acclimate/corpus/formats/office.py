"""PDF, Word and PowerPoint files, each read by a package of its own.

title   what the properties say, or else Word's first title or heading, or the first slide's title
text    PDF: pages, a blank line between them, words put together that a line's end divides; Word: paragraphs and the
        rows of tables, a line each, with the text of forms, boxes and insertions, without what was deleted;
        PowerPoint: slides as pages, each with its notes, without slide numbers and dates
"""

from __future__ import annotations

import re
import threading
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError
from acclimate.corpus.formats.archive import open_archive

_DIVIDED = re.compile(r"\x02(.?)")  # PDFium's mark for a hyphen between a letter and the next line's first character
_LEADER = re.compile(r"(?: ?\.){4,}")  # from an entry of a table of contents to its page
_HEADINGS = {"Title", "Heading 1"}  # styles, whatever the language
_CHARACTERS = {"br": "\n", "cr": "\n", "tab": "\t", "ptab": "\t", "noBreakHyphen": "-"}  # elements of XML
_WITHOUT_TEXT = {"pPr", "rPr", "moveFrom", "rt", "Fallback", "fld"}
_OLE = b"\xd0\xcf\x11\xe0"  # what files of Office begin with that are no archives
_RELATIONS = "_rels/.rels"  # a part of every archive
_STRICT, _USUAL = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/"), rb"http://schemas.openxmlformats.org/\1/2006/"
_PDFIUM = threading.Lock()  # it is not safe for threads


def read_pdf(path: Path) -> tuple[list[str], str]:
    """(what may be the title, text). Raises DataError for a file with a password."""
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


def read_word(path: Path) -> tuple[list[str], str]:
    """(what may be the title, the best first; text). Raises DataError for a file with a password."""
    import docx

    document = docx.Document(_archive(path))
    headings = (
        paragraph.text for paragraph in document.paragraphs if (style := paragraph.style) and style.name in _HEADINGS
    )
    return [document.core_properties.title or "", next(headings, "")], _lines(document.element.body)


def read_powerpoint(path: Path) -> tuple[list[str], str]:
    """(what may be the title, the best first; text). Raises DataError for a file with a password."""
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
    with open_archive(path) as parts:
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
