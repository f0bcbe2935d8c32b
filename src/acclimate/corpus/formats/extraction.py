"""Files whose text must be taken out of them: which kinds are read, with what, and what they have in common.

title   what the file's properties say, or else its first title or heading, if the text begins with it or has it on the
        first page; else none
text    letters as people type them

Some kinds are read by a package of their own: `pip install 'acclimate[pdf,docx,pptx]'`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from acclimate.base.errors import DataError
from acclimate.corpus.formats.epub import read_epub
from acclimate.corpus.formats.notebook import read_notebook
from acclimate.corpus.formats.office import read_pdf, read_powerpoint, read_word
from acclimate.corpus.formats.open_document import read_open_document

_LETTERS = {ord(ligature): normalize("NFKC", ligature) for ligature in "ﬀﬁﬂﬃﬄﬅﬆ"} | {0xAD: ""}  # and soft hyphens
_FIRST_PAGE = 3_000  # characters in which a title is looked for


class _Format(NamedTuple):
    """How files with a suffix are read."""

    name: str
    read: Callable[[Path], tuple[list[str], str]]  # (what may be the title, the best first; text)
    package: str = ""  # as it is imported; "" if none is needed


FORMATS = {
    ".docx": _Format("Word's .docx", read_word, "docx"),
    ".epub": _Format("EPUB", read_epub),
    ".ipynb": _Format("a notebook", read_notebook),
    ".odp": _Format("OpenDocument", read_open_document),
    ".odt": _Format("OpenDocument", read_open_document),
    ".pdf": _Format("PDF", read_pdf, "pypdfium2"),
    ".pptx": _Format("PowerPoint's .pptx", read_powerpoint, "pptx"),
}


def needs(suffix: str) -> str:
    """The extra that must be installed to read files with this suffix; "" if none must."""
    package = FORMATS[suffix].package
    return "" if not package or find_spec(package) else f"acclimate[{suffix.removeprefix('.')}]"


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
