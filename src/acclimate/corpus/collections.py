"""Load a collection by name: a corpus, with its queries and judgments if it has any.

CORPUS is a folder of BEIR or LoTTE, a corpus file (JSON Lines, CSV, TSV, Parquet, TREC's SGML), a folder of text,
Markdown, HTML, PDF or Word files, the usual name of a collection (`beir/scifact`, `lotte/lifestyle/dev/search`),
`irds:` with an id of ir_datasets, or `pydocs`. A file or folder takes precedence over a collection of the same name.
The corpus is built once, into the cache folder under a hash of its source's bytes: the second run opens it at once, and
a changed byte builds another.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from acclimate.base import files
from acclimate.base.digests import fingerprint, is_sealed, sha256
from acclimate.base.errors import DataError, MissingExtra, SettingError, closest_name
from acclimate.base.text import command
from acclimate.base.version import __version__
from acclimate.corpus import hub, lotte, named_collections
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats import beir, read_corpus, read_parts, read_queries
from acclimate.corpus.formats.beir import SPLITS
from acclimate.corpus.formats.data_files import JSONL, TABLES, data_file, parts_of
from acclimate.corpus.formats.fields import Place
from acclimate.corpus.formats.folder import ENDINGS, find_files, read_folder
from acclimate.corpus.judgment_checks import check_judgments
from acclimate.corpus.passages import check, split
from acclimate.records import Doc, Qrel, Query

EXPECTED = (
    "a BEIR folder, a folder of LoTTE, a corpus file ("
    + ", ".join((*JSONL, *TABLES))
    + f", or TREC's SGML), a folder of files ({ENDINGS}), beir/NAME, lotte/DOMAIN/SPLIT/KIND, irds:ID, or pydocs"
)
READERS_VERSION = 9  # increment when a reader gives other docs for the same bytes
PASSAGES_VERSION = 2  # the same for the splitter
IR_DATASETS = "irds:"
BUILT_IN = "pydocs"  # the built-in collection, even if a folder has that name


LocatedQrels = dict[str, list[tuple[Place, Qrel]]]  # by split, with the place of each


@dataclass(frozen=True)
class Collection:
    """A corpus with its queries and judgments."""

    name: str
    corpus: Corpus
    queries: list[Query] = field(default_factory=list)
    qrels: dict[str, list[Qrel]] = field(default_factory=dict)  # by split: train, dev, test


def is_path(name: str) -> bool:
    """True for the name of a file or folder."""
    if named_collections.is_named(name):
        return files.exists(name) or lotte.find(Path(name)) is not None
    return name != BUILT_IN and not name.startswith((IR_DATASETS, hub.PREFIX))


def path_of(name: str) -> Path | None:
    """The file or folder that a name refers to, if any."""
    if not is_path(name):
        return None
    place = lotte.find(Path(name))
    return place[0] if place else Path(name)


def located(name: str) -> str:
    """A name that refers to the same collection from any working directory."""
    return str(Path(name).absolute()) if is_path(name) else name


def check_name(name: str) -> None:
    """Raises DataError for a missing file or folder, and SettingError for an unknown collection."""
    if (path := path_of(name)) is not None:
        if not files.exists(path):
            raise _no_such(path)
    elif named_collections.is_named(name):
        named_collections.ir_datasets_id(name)
    elif hub.is_on_hub(name):
        convert = command("convert", name, "NEW", "--to", "beir")
        raise SettingError(f"{name} is read once it is converted: {convert}, and give NEW")


def load(
    name: str | Path, cache_dir: Path, *, queries: str | Path | None = None, qrels: str | Path | None = None
) -> Collection:
    """Load the collection of that name. Files of queries and qrels, when given, replace the collection's own.

    Judgments given as a file become the split `test`.
    """
    check_name(str(name))
    if is_path(str(name)):
        source = _path(Path(name), cache_dir)
    elif name == BUILT_IN:
        source = _pydocs(cache_dir)
    else:
        source = _ir_dataset(str(name), cache_dir)
    query_list = source.queries() if queries is None else read_queries(Path(queries))
    located = source.located() if qrels is None else {"test": beir.located_qrels(Path(qrels))}
    located = {split: rows for split, rows in located.items() if rows}
    for rows in located.values():
        check_judgments(rows, query_list, source.corpus)
    return Collection(
        source.name, source.corpus, query_list, {split: [qrel for _, qrel in rows] for split, rows in located.items()}
    )


def passages(corpus: Corpus, cache_dir: Path, *, words: int, overlap: int) -> Corpus:
    """The corpus with longer docs split into passages, cached.

    The corpus itself when `words` is 0. Raises DataError if a passage would get the id of an existing doc.
    """
    check(words, overlap)
    if not words:
        return corpus
    order = corpus.path.name if corpus.path else ""  # the fingerprint ignores order
    key = fingerprint(PASSAGES_VERSION, order, corpus.fingerprint, words, overlap)

    def pieces() -> Iterator[Doc]:
        for doc in corpus.values():
            for piece in split(doc, words, overlap):
                if piece.doc_id != doc.doc_id and piece.doc_id in corpus:
                    raise DataError(
                        f"document {doc.doc_id!r} is longer than {words} words, and {piece.doc_id!r}, the id of a "
                        "passage of it, is that of a document; rename one, or set index.passage_words=0",
                        path=corpus.source or None,
                    )
                yield piece

    return _built(cache_dir / f"passages-{key}.arrow", pieces, corpus.source)


def _built(path: Path, docs: Callable[[], Iterable[Doc]], source: str | Path) -> Corpus:
    """The corpus in this file; made of `docs` where there is none, or one of a version that stored no fields."""
    if is_sealed(path) and (corpus := Corpus.open(path, source=source)).field_names is not None:
        return corpus
    return Corpus.build(docs(), path, source=source)


@dataclass(frozen=True)
class _Source:
    """A collection whose queries and judgments are read only when needed."""

    name: str
    corpus: Corpus
    queries: Callable[[], list[Query]] = list
    located: Callable[[], LocatedQrels] = dict


def _path(path: Path, cache_dir: Path) -> _Source:
    if files.is_file(path):
        return _Source(path.name.split(".")[0], _cached(path, cache_dir))
    if (place := lotte.find(path)) and data_file(place[0], "corpus") is None:
        return _lotte(*place, cache_dir)
    if not path.is_dir():
        if files.exists(path):
            files.open_bytes(path).close()  # reports what it is, such as a pipe
        raise _no_such(path)
    corpus = data_file(path, "corpus")
    if corpus is None:
        return _Source(path.resolve().name, _cached(path, cache_dir))
    queries = data_file(path, "queries")
    return _Source(
        path.resolve().name,
        _cached(corpus, cache_dir),
        lambda: read_queries(queries) if queries else [],
        lambda: beir.judgments_in(path),
    )


def _lotte(folder: Path, kind: str, cache_dir: Path) -> _Source:
    source = folder / lotte.COLLECTION
    key = fingerprint(READERS_VERSION, lotte.COLLECTION, sha256(source))
    corpus = _built(cache_dir / f"corpus-{key}.arrow", lambda: lotte.docs(folder), source)

    def queries() -> list[Query]:
        read = lotte.labels(folder, kind).queries
        return [row.record for row in read()] if read else []

    def located() -> LocatedQrels:
        splits = lotte.labels(folder, kind).qrels
        return {split: [(row.place, row.record) for row in rows()] for split, rows in splits.items()}

    name = "/".join((*folder.resolve().parts[-2:], kind)).strip("/")
    return _Source(name, corpus, queries, located)


def _cached(source: Path, cache_dir: Path) -> Corpus:
    """The corpus of a file or folder, from the cache if the same bytes were read before."""
    if not source.is_dir():
        paths, read = [source], partial(read_corpus, source)
    elif paths := parts_of(source):
        read = partial(read_parts, paths)
    else:
        paths, read = find_files(source)[0], partial(read_folder, source)
    names = [path.relative_to(source).as_posix() if path != source else path.suffixes for path in paths]
    key = fingerprint(READERS_VERSION, names, [sha256(path) for path in paths])
    return _built(cache_dir / f"corpus-{key}.arrow", read, source)


def _pydocs(cache_dir: Path) -> _Source:
    from acclimate.corpus import pydocs

    key = fingerprint(READERS_VERSION, __version__, platform.python_version())
    corpus = _built(cache_dir / f"corpus-{key}.arrow", pydocs.build, "pydocs")

    def located() -> LocatedQrels:
        return {split: [(Place(Path(f"pydocs/{split}")), qrel) for qrel in pydocs.qrels(split)] for split in SPLITS}

    return _Source("pydocs", corpus, pydocs.queries, located)


def _ir_dataset(name: str, cache_dir: Path) -> _Source:
    """A dataset of ir_datasets; if it has no judgments, with those of its parts test, dev and train.

    Users cannot fix published judgments, so those of unknown documents are dropped, as by ir_measures.
    """
    dataset_id = (
        named_collections.ir_datasets_id(name) if named_collections.is_named(name) else name.removeprefix(IR_DATASETS)
    )
    try:
        import ir_datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtra(f"The collection {name!r}", "pip install 'acclimate[datasets]'") from None
    whole = _dataset(ir_datasets, dataset_id)
    if whole is None or not whole.has_docs():
        raise SettingError(
            f"ir_datasets has no documents named {dataset_id!r}; https://ir-datasets.com lists what there is"
        )
    key = fingerprint(READERS_VERSION, f"irds:{dataset_id}", ir_datasets.__version__)
    with named_collections.downloading(name):
        corpus = _built(cache_dir / f"corpus-{key}.arrow", lambda: map(_doc, whole.docs_iter()), name)
    if whole.has_qrels():
        last = dataset_id.rsplit("/", 1)[-1]
        parts = {last if last in SPLITS else "test": whole}
    else:
        parts = {split: part for split in SPLITS if (part := _dataset(ir_datasets, f"{dataset_id}/{split}"))}

    def queries() -> list[Query]:
        sources = [part for part in (*parts.values(), whole) if part.has_queries()]
        with named_collections.downloading(name):
            texts = {query.query_id: _text(query) for source in sources for query in source.queries_iter()}
        return [Query(query_id, text) for query_id, text in texts.items()]

    def located() -> LocatedQrels:
        place = Place(Path(name))
        with named_collections.downloading(name):
            return {
                split: [
                    (place, Qrel(qrel.query_id, qrel.doc_id, int(qrel.relevance)))
                    for qrel in part.qrels_iter()
                    if qrel.doc_id in corpus
                ]
                for split, part in parts.items()
                if part.has_qrels()
            }

    return _Source(dataset_id, corpus, queries, located)


def _dataset(ir_datasets: Any, name: str) -> Any:
    try:
        return ir_datasets.load(name)
    except KeyError:
        return None


def _doc(doc: Any) -> Doc:
    if hasattr(doc, "title") and hasattr(doc, "text"):
        return Doc(doc.doc_id, doc.text, doc.title or "")
    return Doc(doc.doc_id, _text(doc))


def _text(record: Any) -> str:
    return record.default_text() if hasattr(record, "default_text") else record.text


def _no_such(path: Path) -> DataError:
    if path.is_symlink():
        return DataError("is a link to nothing; mend it, or name what it was to lead to", path=path)
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    meant = named_collections.suggestion(path.name)
    if meant is None and (name := closest_name(path.name, [*siblings, BUILT_IN])):
        meant = str(path.parent / name) if name in siblings else name
    hint = f" Did you mean {meant!r}?" if meant else ""
    return DataError(f"no such file or folder.{hint} Expected {EXPECTED}", path=path)
