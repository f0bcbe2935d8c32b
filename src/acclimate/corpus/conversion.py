"""Convert files of one format to another: recognized by content, completed from given documents and queries.

Input is streamed. Documents to look up, by id or text, go into a corpus in a temporary folder beside the target. An
existing file is replaced; an existing folder never is.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from acclimate.base.arguments import StrPath, path_of, path_text
from acclimate.base.errors import DataError, SettingError
from acclimate.base.files import exists, is_file, make_folder, tidied_above
from acclimate.base.targets import refuse_replacing
from acclimate.corpus import collections, hub
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats import registry
from acclimate.corpus.formats.content import Content, Row
from acclimate.corpus.formats.data_files import LAST_SUFFIXES
from acclimate.corpus.formats.fields import Located, Place
from acclimate.corpus.formats.folder import find_files
from acclimate.corpus.formats.registry import Format, named_format, recognize
from acclimate.corpus.formats.source import Source
from acclimate.corpus.overwriting import refuse_replacing_collection

# (suffix of the target, kind of content) -> default format.
BY_SUFFIX = {
    ".jsonl": {
        registry.DOCS: "documents",
        registry.QUERIES: "queries",
        registry.SYNTHETIC: "synthetic",
        registry.EXAMPLES: "nway",
    },
    ".tsv": {registry.JUDGMENTS: "qrels", registry.EXAMPLES: "triples-ids", registry.QUERIES: "queries-tsv"},
    ".trec": {registry.JUDGMENTS: "trec-qrels", registry.RUNS: "trec-run"},
    "": {registry.COLLECTIONS: "beir", registry.SYNTHETIC: "beir"},
}
BY_SUFFIX[".parquet"] = BY_SUFFIX[".jsonl"]


@dataclass(frozen=True)
class Conversion:
    """The outcome of a conversion; `notes` count by reason what was left out or changed.

    >>> print(acclimate.Conversion("inpars", "beir", 1200, {}))
    inpars to beir: 1,200 written
    """

    source_format: str
    target_format: str
    records: int
    notes: Mapping[str, int]

    def __str__(self) -> str:
        return f"{self.source_format} to {self.target_format}: {self.records:,} written"


def formats() -> list[Format]:
    """The formats that `convert` knows, by kind.

    >>> [form.name for form in acclimate.formats() if form.kind == "runs"]
    ['trec-run', 'colbert-ranking']
    """
    return list(registry.FORMATS)


def convert(
    source: StrPath,
    target: StrPath,
    *,
    source_format: str = "",
    target_format: str = "",
    corpus: StrPath | Corpus | None = None,
    queries: StrPath | None = None,
    recognized: Callable[[Format], object] = lambda _: None,
) -> Conversion:
    """Read a file or folder of any known format and write it as another: see `acclimate.convert`."""
    source, target = path_text(source, "source"), path_of(target, "target")
    corpus = corpus if corpus is None or isinstance(corpus, Corpus) else path_text(corpus, "corpus")
    queries = None if queries is None else path_text(queries, "queries")
    for name, value in (("source", source), ("corpus", corpus), ("queries", queries)):
        if value == "":
            raise SettingError(f"{name} is empty; expected a file or folder")
    for name in filter(None, (source_format, target_format)):
        named_format(name)
    if target.is_dir() and any(target.iterdir()):
        raise DataError("is a folder with something in it; expected a new one", path=target)
    refuse_replacing(target, source, *([queries] if queries else []))
    if isinstance(corpus, str):
        refuse_replacing_collection(target, corpus)
    with _room_for(target) as folder:
        form, content = _read(source, source_format, folder)
        recognized(form)
        wanted = named_format(target_format) if target_format else _target(form, target)
        if wanted.write is None:
            raise SettingError(
                f"{wanted.name} can only be read; list the writable formats with acclimate convert --list"
            )

        @cache
        def documents() -> Corpus | None:
            if isinstance(corpus, Corpus):
                return corpus
            given = _read(corpus, "", folder, registry.DOCS, registry.COLLECTIONS)[1] if corpus else content
            if given.docs is None:
                if corpus:
                    raise DataError(f"holds {given}, not documents", path=corpus)
                return None
            rows = given.docs()
            return Corpus.build(Located(row[:2] for row in rows), folder / "documents.arrow", source=corpus or source)

        records = Source(
            content,
            Path(source),
            documents=documents,
            queries=_texts(queries, folder) if queries else None,
            room=wanted.room,
        )
        replaced = _kept_aside(target, folder)
        count = wanted.write(target, records)
        if not count:
            _remove(target)
            if replaced:
                replaced.replace(target)
            raise DataError(f"nothing of it can be written as {wanted.name}{_reasons(records)}", path=source)
    return Conversion(form.name, wanted.name, count, {note: n for note, n in sorted(records.notes.items()) if n})


def _read(name: str, format_name: str, folder: Path, *kinds: str) -> tuple[Format, Content]:
    """The format and content of a file or folder, local or on the hub, or of a collection by name."""
    path = hub.download(name) if hub.is_on_hub(name) else Path(name)
    if format_name:
        form = named_format(format_name)
        return form, form.read(path)
    if hub.is_on_hub(name) or (collections.is_path(name) and exists(path)):
        try:
            form = recognize(path, kinds)
            return form, form.read(path)
        except DataError:
            if hub.is_on_hub(name) or not path.is_dir() or _has_data(path):
                raise
    collection = collections.load(name, folder)
    return named_format("beir" if collection.queries else "documents"), Content(
        docs=lambda: (Row(Place(path), doc) for doc in collection.corpus.values()),
        queries=(lambda: (Row(Place(path), query) for query in collection.queries)) if collection.queries else None,
        qrels={
            split: (lambda qrels=qrels: (Row(Place(path), qrel) for qrel in qrels))
            for split, qrels in collection.qrels.items()
        },
    )


def _reasons(records: Source) -> str:
    notes = ", ".join(f"{note}: {count:,}" for note, count in sorted(records.notes.items()) if count)
    return f"; {notes}" if notes else ""


def _kept_aside(target: Path, folder: Path) -> Path | None:
    """A second name in `folder` for a file that is about to be replaced, or a copy; None if there is no such file."""
    if not is_file(target):
        return None
    aside = folder / "replaced"
    try:
        aside.hardlink_to(target)
    except OSError:  # file systems without hard links
        shutil.copy2(target, aside)
    return aside


def _remove(target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()


def _has_data(folder: Path) -> bool:
    """True for a folder with as many data files as texts, which then only describe the data."""
    n_data = sum(path.suffix.lower() in LAST_SUFFIXES for path in folder.rglob("*"))
    return n_data > 0 and n_data >= len(find_files(folder)[0])


def _target(form: Format, target: Path) -> Format:
    suffix = target.name.lower().removesuffix(".gz")
    kinds = next((kinds for end, kinds in BY_SUFFIX.items() if end and suffix.endswith(end)), {})
    if "." not in suffix:
        kinds = BY_SUFFIX[""]
    if form.kind not in kinds:
        raise SettingError(
            f"what {target.name} should be is unclear; name the format with --to FORMAT (acclimate convert --list)"
        )
    return named_format(kinds[form.kind])


def _texts(name: str, folder: Path) -> Mapping[str, str]:
    content = _read(name, "", folder, registry.QUERIES, registry.COLLECTIONS, registry.SYNTHETIC)[1]
    return dict(row.record for row in Source(content, Path(name)).queries())


@contextmanager
def _room_for(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target."""
    with tidied_above(target):
        make_folder(target.parent)
        with _temporary(target) as folder:
            yield Path(folder)


def _temporary(target: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except FileNotFoundError:  # of a system's own folders, such as /proc
        raise DataError("nothing can be written here", path=target.parent) from None
