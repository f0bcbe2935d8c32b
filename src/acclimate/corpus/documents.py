"""The documents of a collection by id, in one memory-mapped Arrow file of any size.

Building streams: only a batch of docs and 24 bytes per doc are in memory. A doc is looked up by the hash of its id, see
`doc_ids`.

Decided: the fingerprint is a sum of one hash per doc, so any changed byte changes it, but neither the order of the docs
nor fields that no model reads. A doc with neither title nor text is kept and listed in `blank`, because published
collections have a few and judge them; when more than one doc in a hundred is blank, the wrong column was read, and the
corpus is refused.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from bisect import bisect_right
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from acclimate.base.digests import seal
from acclimate.base.errors import DataError
from acclimate.base.files import atomic_write
from acclimate.base.text import counted
from acclimate.corpus import stored_fields
from acclimate.corpus.doc_ids import DocIds, hash_of
from acclimate.corpus.formats.fields import Place, as_json, unbroken
from acclimate.records import Doc

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "acclimate-corpus-1"
MAX_BLANK = 0.01
_FIELDS, _NAMES = 4, 1000  # index of the column of other fields; limit of their names in the header
BATCH_DOCS, BATCH_CHARS = 4096, 1 << 22


class UnknownDoc(DataError, KeyError):
    """A doc id that the corpus does not have."""

    __str__ = Exception.__str__  # KeyError would show the message in quotes


class Corpus(Mapping[str, Doc]):
    """The docs of a collection by id, in the order in which they were given."""

    def __init__(self, content: pa.Buffer, *, path: Path | None = None) -> None:
        """Use `build`, `open` or `of`."""
        import pyarrow as pa

        self.path = path
        try:
            self._file: Any = pa.ipc.open_file(content)
            *batches, (_, facts) = map(self._file.get_batch_with_custom_metadata, range(self._file.num_record_batches))
            header = json.loads(facts[FORMAT.encode()])
        except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError):
            raise DataError("not a corpus that this version built; delete it and run again", path=path) from None
        self._batches: list[Any] = [batch for batch, _ in batches]
        self.ids = DocIds([batch.column(0) for batch in self._batches], [batch.column(3) for batch in self._batches])
        self.fingerprint: str = header["fingerprint"]
        self.source: str = header["source"]
        self.blank: tuple[str, ...] = tuple(header["blank"])
        self.dropped: dict[str, int] = header["dropped"]
        self.field_names: list[str] | None = header.get("fields")  # None: written by a version that stored none

    @classmethod
    def build(cls, docs: Iterable[Doc], path: Path, *, source: str | Path = "") -> Corpus:
        """Stream docs to an Arrow file and open it. `source` is named in errors.

        Refused: no docs, an empty or repeated id, a value that is no text, more than one blank doc in a hundred.
        """
        import pyarrow as pa

        with atomic_write(path) as partial, pa.OSFile(str(partial), "wb") as sink:
            tally = _write(docs, sink, str(source))
            sink.close()
            cls.open(partial)._refuse_repeated(tally)
        seal(path)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path, *, source: str | Path = "") -> Corpus:
        """Open a built corpus; only its header is read. `source` renames its source."""
        import pyarrow as pa

        if not path.is_file():
            raise DataError("no such corpus", path=path)
        corpus = cls(pa.memory_map(str(path)).read_buffer(), path=path)
        corpus.source = str(source) or corpus.source
        return corpus

    @classmethod
    def of(cls, docs: Iterable[Doc], *, source: str = "") -> Corpus:
        """A corpus in memory."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        tally = _write(docs, sink, source)
        corpus = cls(sink.getvalue())
        corpus._refuse_repeated(tally)
        return corpus

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __getitem__(self, doc_id: str) -> Doc:
        row = self.ids.row(doc_id)
        if row is None:
            where = f" of {self.source}" if self.source else ""
            raise UnknownDoc(f"no document {doc_id!r} among the {len(self):,}{where}")
        return Doc(*(self._cell(row, column) for column in range(len(Doc._fields))))

    def __contains__(self, doc_id: object) -> bool:
        return doc_id in self.ids

    def values(self) -> ValuesView[Doc]:
        """The docs, streamed in order."""
        return _Docs(self)

    def items(self) -> ItemsView[str, Doc]:
        """The ids and docs, streamed in order."""
        return _Items(self)

    def fields(self) -> Iterator[dict[str, Any]]:
        """Stream the other fields of each doc, in order; see `stored_fields`."""
        for batch in self._batches:
            texts = [""] * batch.num_rows if self.field_names is None else batch.column(_FIELDS).to_pylist()
            yield from map(stored_fields.of_text, texts)

    def fields_of(self, doc_id: str) -> dict[str, Any]:
        """The other fields of a doc; {} for an unknown doc."""
        row = None if self.field_names is None else self.ids.row(doc_id)
        return {} if row is None else stored_fields.of_text(self._cell(row, _FIELDS))

    def __repr__(self) -> str:
        return f"Corpus({counted(len(self), 'doc')}, source={self.source!r}, fingerprint={self.fingerprint!r})"

    def __reduce__(self) -> Any:  # for worker processes: a built corpus is pickled as its path
        if self.path:
            return Corpus.open, (self.path,)
        return partial(Corpus.of, source=self.source), (list(self.values()),)

    def _refuse_repeated(self, tally: _Tally) -> None:
        seen: dict[str, int] = {}
        for row in self.ids.of_equal_hashes():
            doc_id = self.ids[row]
            first = seen.setdefault(doc_id, row)
            if first != row:
                place, before = tally.place_of(row), tally.place_of(first)
                where = f"as documents {first + 1} and {row + 1}"
                if place.line:
                    file = "" if before.path == place.path else f" of {before.path.name}"
                    where = f"first in line {before.line}{file}"
                raise place.error(f"id {doc_id!r} appears twice, {where}; ids must be unique")

    def _cell(self, row: int, column: int) -> str:
        batch = self.ids.batch_of(row)
        return self._batches[batch].column(column)[row - self.ids.starts[batch]].as_py()

    def _stream(self) -> Iterator[Doc]:
        for batch in self._batches:
            yield from map(Doc, *(batch.column(column).to_pylist() for column in range(len(Doc._fields))))


class _Docs(ValuesView[Doc]):
    def __iter__(self) -> Iterator[Doc]:
        return cast(Corpus, self._mapping)._stream()


class _Items(ItemsView[str, Doc]):
    def __iter__(self) -> Iterator[tuple[str, Doc]]:
        return ((doc.doc_id, doc) for doc in cast(Corpus, self._mapping)._stream())


def ids_of(corpus: Mapping[str, Doc]) -> DocIds | list[str]:
    """The ids of a corpus, or of docs in memory, by row."""
    return corpus.ids if isinstance(corpus, Corpus) else list(corpus)


@dataclass
class _Tally:
    """Checks docs as they stream by, and collects the facts of the header."""

    source: str
    lines: array[int] = field(default_factory=lambda: array("q"))  # of each doc; 0 where not known
    parts: list[tuple[int, Path]] = field(default_factory=list)  # files with lines, and the row of their first doc
    blank: list[str] = field(default_factory=list)
    first_blank: DataError | None = None
    digest: int = 0
    field_names: set[str] = field(default_factory=set)

    def rows(self, docs: Iterable[Doc]) -> Iterator[tuple[str, str, str, int, str]]:
        for doc in docs:
            place = getattr(docs, "place", None) or Place(Path(self.source or "docs"))  # see Located
            if place.line and (not self.parts or self.parts[-1][1] != place.path):
                self.parts.append((len(self.lines), place.path))
            self.lines.append(place.line or 0)
            self.digest += int.from_bytes(_digest(doc, place), "little")
            if not (doc.text.strip() or doc.title.strip()):
                self.first_blank = self.first_blank or place.error(f"'text' of document {doc.doc_id!r} is empty")
                self.blank.append(doc.doc_id)
            fields = stored_fields.kept(getattr(docs, "others", {}))
            self.field_names |= fields.keys()
            yield doc.doc_id, doc.text, doc.title, hash_of(doc.doc_id), stored_fields.as_text(fields)

    def place_of(self, row: int) -> Place:
        """Where a doc was read: file and line, or its source alone where a file is a doc."""
        part = bisect_right(self.parts, row, key=lambda part: part[0]) - 1
        if not self.lines[row] or part < 0:
            return Place(Path(self.source or "docs"))
        return Place(self.parts[part][1], self.lines[row])

    def facts(self, dropped: Mapping[str, int]) -> dict[str, Any]:
        count = len(self.lines)
        if not count:
            raise DataError("no documents; expected at least one", path=self.source or None)
        if self.first_blank and len(self.blank) > MAX_BLANK * count:
            raise DataError(
                f"{self.first_blank}, and so is its title; {len(self.blank):,} of {counted(count, 'document')} are. "
                f"Remove them, or name the column that holds the text 'text' (up to {MAX_BLANK:.0%} may be empty)"
            )
        return {
            "fingerprint": f"{self.digest % (1 << 128):032x}",
            "source": self.source,
            "blank": self.blank,
            "fields": sorted(self.field_names)[:_NAMES],
            "dropped": {reason: number for reason, number in sorted(dropped.items()) if number},
        }


def _write(docs: Iterable[Doc], sink: Any, source: str) -> _Tally:
    """The Arrow file: batches of docs with the hash of each id, and an empty batch that carries the facts."""
    import pyarrow as pa

    tally = _Tally(source)
    schema = pa.schema([*((name, pa.string()) for name in Doc._fields), ("key", pa.uint64()), ("fields", pa.string())])
    with pa.ipc.new_file(sink, schema) as writer:
        for rows in _batches(tally.rows(docs)):
            columns = zip(zip(*rows, strict=True), schema.types, strict=True)
            writer.write_batch(pa.record_batch([pa.array(cells, kind) for cells, kind in columns], schema=schema))
        facts = json.dumps(tally.facts(getattr(docs, "dropped", {})))
        empty = pa.record_batch([pa.array([], kind) for kind in schema.types], schema=schema)
        writer.write_batch(empty, custom_metadata={FORMAT: facts})
    return tally


def _batches(rows: Iterable[tuple[str, str, str, int, str]]) -> Iterator[list[tuple[str, str, str, int, str]]]:
    batch, chars = [], 0
    for row in rows:
        batch.append(row)
        chars += len(row[1]) + len(row[4])
        if len(batch) == BATCH_DOCS or chars > BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _digest(doc: Doc, place: Place) -> bytes:
    """A hash of id, title and text, each preceded by its length. Raises DataError for a value that is no text."""
    if not isinstance(doc.doc_id, str) or not doc.doc_id:
        raise place.error(f"'doc_id' is {as_json(doc.doc_id)}; expected an id: text that is not empty")
    hashed = hashlib.blake2b(digest_size=16)
    for name, value in zip(doc._fields, doc, strict=True):
        if not isinstance(value, str):
            raise place.error(f"{name!r} of document {doc.doc_id!r} is {as_json(value)}; expected text")
        data = unbroken(value, name, place).encode()
        hashed.update(len(data).to_bytes(8, "little") + data)
    return hashed.digest()
