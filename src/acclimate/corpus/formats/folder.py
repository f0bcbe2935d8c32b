"""A folder of texts, web pages, office files and the like: one document per file, its id the path below, with slashes.

title   the front matter's; HTML: see `html`; Markdown, reStructuredText and AsciiDoc: see `markdown`, `markup`; of a
        file without one its name, or that of its folder if it is an index
text    text as it is; Markdown without comments (see `markdown`); HTML without front matter, tags, scripts, styles and
        navigation (see `html`)
others  the front matter

For other types of files see `extraction`; some are read where their packages are installed. Hidden files and folders
are skipped. Links out of the folder or to nothing, pipes and the like, files without text or of other types, files from
which no text can be taken, which are named, sources that Sphinx copies beside its pages, and the folders of runs are
skipped and counted. Text that is not UTF-8 is an error, except for HTML that declares its encoding. The error names all
such files: a corpus with silent holes is worse than no corpus.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError
from acclimate.base.files import LONGEST, is_file, read_text
from acclimate.base.progress import Progress
from acclimate.base.text import counted, quoted
from acclimate.corpus.formats import extraction, front_matter, sgml
from acclimate.corpus.formats.charset import read_declared
from acclimate.corpus.formats.data_files import CARD, is_data, parts_of
from acclimate.corpus.formats.fields import Located, Place
from acclimate.corpus.formats.html import read_page
from acclimate.corpus.formats.markdown import read_markdown
from acclimate.corpus.formats.markup import read_asciidoc, read_rst
from acclimate.corpus.formats.registry import DOCS, conversion_of
from acclimate.corpus.formats.samples import look
from acclimate.records import Doc

logger = logging.getLogger(__name__)

MARKDOWN, HTML = (".md", ".markdown", ".mdx"), (".html", ".htm", ".xhtml")
TEXT: Mapping[str, Callable[[str], tuple[str, str]]] = {  # suffix -> (title, text) of a content
    ".txt": lambda content: ("", content),
    ".rst": read_rst,
    ".adoc": read_asciidoc,
    ".asciidoc": read_asciidoc,
}
SUFFIXES = (*TEXT, *MARKDOWN, *HTML)
ENDINGS = ", ".join((*SUFFIXES, *extraction.FORMATS))  # of all files that are read
_RUN = {"run.json", "recipe.toml"}  # files of every run

_ADVICE = {  # by suffix of files that must be converted first
    ".doc .ppt .rtf": "save it as DOCX, PPTX or PDF",
    ".mobi .azw3 .djvu .tex .org": "make texts of such files first, with pandoc for one",
    ".zip .tar .tgz .tar.gz .bz2 .xz .zst .7z .rar": "unpack it first",
    ".xls .xlsx .ods": "save it as CSV",
    ".json": "of one JSON list make an object a line first: jq -c '.[]' FILE.json > FILE.jsonl",
}
_INDEXES = {"index", "_index", "readme"}  # names of pages about their folder
_WORD = re.compile(r"[^\W\d_a-zA-Z]|[a-zA-Z]{3}")
_HASH = re.compile("[0-9a-fA-F-]{16,}")  # or UUID
_SOURCES = "_sources"
_NAMED = 5  # unreadable files that an error names


def read_folder(folder: Path) -> Located[Doc]:
    """Stream the docs in the order of their ids; `dropped` counts the skipped files by reason.

    Raises DataError for a data set whose only text is its card.
    """
    files, dropped = find_files(folder)
    if [file.name for file in files] == [CARD]:
        others = sorted(set(folder.glob("[!.]*")).difference(files))
        if advice := conversion_of(folder) or _meaning(others):
            raise DataError(f"holds data, of which {CARD} is the card, and no texts{advice}", path=folder)
    return Located(_docs(folder, files, dropped), dropped=dropped)


def find_files(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The files that are documents, sorted by id, and counts of the others by reason."""
    if not folder.is_dir():
        raise DataError("is a file; expected a folder" if folder.exists() else "no such folder", path=folder)
    paths: list[Path] = []
    dropped: Counter[str] = Counter()
    inside = folder.resolve()

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot be read: {error.strerror}", path=error.filename)

    for parent, folders, names in os.walk(folder, onerror=refuse):
        if set(names) >= _RUN:  # its report and the cards of its models are no documents
            if Path(parent) == folder:
                raise DataError("is a run; expected documents", path=folder)
            dropped["folder of a run"] += 1
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        dropped["link to a folder"] += sum(Path(parent, name).is_symlink() for name in folders)
        for path in (Path(parent, name) for name in names if not name.startswith(".")):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                dropped["link out of the folder"] += 1
            elif not is_file(path):
                dropped["link to nothing" if path.is_symlink() else "pipe, socket or device"] += 1
            elif _is_source(path, folder):
                dropped["source of a page that is read"] += 1
            elif (suffix := path.suffix.lower()) in SUFFIXES:
                paths.append(path)
            elif suffix not in extraction.FORMATS:
                dropped[f"{suffix or 'no'} file type"] += 1
            elif extra := extraction.needs(suffix):
                dropped[f"{suffix} file type, read with {extra}"] += 1
            else:
                paths.append(path)
    return sorted(paths, key=lambda path: path.relative_to(folder).as_posix()), dropped


def _is_source(path: Path, folder: Path) -> bool:
    """True for what Sphinx copies beside the pages it writes: `_sources/a/b.rst.txt` is the source of `a/b.html`."""
    before, copies, below = path.relative_to(folder).as_posix().rpartition(f"{_SOURCES}/")
    page = folder / before / Path(below).with_suffix("").with_suffix(".html")
    return bool(copies) and (page.is_file() or (page.with_suffix("") / "index.html").is_file())


def _docs(folder: Path, files: list[Path], dropped: Counter[str]) -> Iterator[tuple[Place, Doc, Mapping[str, Any]]]:
    n_docs, scans = 0, list[Path]()
    progress = Progress("index", "files")
    for number, path in enumerate(files):
        progress(number, len(files))
        if any("\ud800" <= char <= "\udfff" for char in str(path)):
            raise DataError(f"{quoted(path.name)} is not a UTF-8 name; rename the file", path=path.parent)
        others: Mapping[str, Any] = {}
        if path.suffix.lower() in extraction.FORMATS:
            try:
                title, text = extraction.read(path)
            except DataError as error:  # hundreds of other files may have taken minutes to read
                logger.warning("%s; it is left out", error)
                dropped[f"unreadable {path.suffix.lower()} file"] += 1
                continue
        else:
            try:
                title, text, others = _read_text(path)
            except DataError as error:
                raise _with_others(error, files[number + 1 :]) from None
        if not (title or text.strip()):
            dropped["file without text"] += 1
            scans += [path] if path.suffix.lower() in extraction.FORMATS else []
            continue
        n_docs += 1
        name = path.relative_to(folder)
        yield Place(path), Doc(name.as_posix(), text, title or _title_from(name)), others
    if scans:
        what = f"{counted(len(scans), 'file')} without text, as scans are before OCR"
        logger.warning("%s: left out %s: %s", folder, what, _listed(scans))
    if not n_docs:
        raise _no_documents(folder, files, dropped)


def _no_documents(folder: Path, files: list[Path], dropped: Counter[str]) -> DataError:
    """The error of a folder in which nothing is a document, not even `files`, which were read."""
    others = sorted(set(folder.glob("[!.]*")).difference(files))
    nested = sorted(folder.glob("*/corpus.jsonl*"))
    advice = f"; did you mean {nested[0].parent}?" if nested else conversion_of(folder) or _meaning(others)
    advice = advice or _joining(folder) or next(filter(None, map(advice_on, others)), "")
    passed_over = ", ".join(f"{reason}: {count}" for reason, count in sorted(dropped.items()) if count)
    return DataError(
        f"no documents in this folder{f' (passed over: {passed_over})' if passed_over else ''}; expected a "
        f"corpus.jsonl, or files that end in one of {ENDINGS}{advice}",
        path=folder,
    )


def _read_text(path: Path) -> tuple[str, str, Mapping[str, Any]]:
    """(title, text, other fields) of a file of text."""
    content, kind = _content(path), path.suffix.lower()
    if kind in MARKDOWN:
        return read_markdown(content)
    others, below = front_matter.split(content)
    title, text = read_page(below) if kind in HTML else TEXT[kind](content)
    return front_matter.title_of(others) or title, text, others


def _title_from(name: Path) -> str:
    """The title of a file without one, as notes have none, from its path below the folder; "" if that says nothing."""
    stem = name.parent.name if name.stem.casefold() in _INDEXES else name.stem
    if not _WORD.search(stem) or _HASH.fullmatch(stem):
        return ""
    return " ".join(stem.replace("_", " ").split())


def _content(path: Path) -> str:
    return read_declared(path) if path.suffix.lower() in HTML else read_text(path, largest=LONGEST)


def _with_others(error: DataError, files: list[Path]) -> DataError:
    """The error of a file that cannot be read, and the names of the files behind it for which it is the same."""
    others: list[Path] = []
    for path in files:
        if path.suffix.lower() not in extraction.FORMATS:
            try:
                _content(path)
            except DataError:
                others.append(path)
    return DataError(f"{error}. {len(others):,} more cannot be read either: {_listed(others)}") if others else error


def _listed(paths: list[Path]) -> str:
    return ", ".join(map(str, paths[:_NAMED])) + (", ..." if len(paths) > _NAMED else "")


def advice_on(path: Path, *, kind: str = DOCS) -> str:
    """Advice on a file without records, to be appended to an error; "" if there is none.

    kind: of the wanted records, documents or queries.
    """
    name = path.name.lower()
    if path.suffix.lower() in SUFFIXES:
        return (
            "; a text is one document of many: give the folder that it is in"
            if kind == DOCS
            else "; queries need an id each, as in a table of id and text; for unjudged queries use --log"
        )
    if path.suffix.lower() in extraction.FORMATS:
        extra = extraction.needs(path.suffix.lower())
        return f"; pip install '{extra}' to read such files" if extra else "; give the folder that it is in"
    return next((f"; {advice}" for ends, advice in _ADVICE.items() if name.endswith(tuple(ends.split()))), "")


def _meaning(paths: list[Path]) -> str:
    """Advice to give one of these instead of the folder they are in, to be appended to an error; "" if none is data."""
    tables = [path for path in paths if is_data(path)]
    if len(tables) > 1:
        return "; give the file that has the documents"
    data = [*tables, *(path for path in paths if path.is_dir() and parts_of(path))]
    return f"; did you mean {data[0]}?" if data else ""


def _joining(folder: Path) -> str:
    """Advice to join TREC's documents from many files, to be appended to an error; "" if there are none."""
    first = next((path for path in sorted(folder.iterdir()) if is_file(path)), None)
    try:
        is_sgml = first is not None and sgml.are_docs(look(first)) > 0
    except DataError:
        return ""
    return f". TREC's documents are read from one file: cat {folder}/* > docs.sgml" if is_sgml else ""
