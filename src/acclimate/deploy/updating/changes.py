"""Which documents are new, changed or gone: matched by id, compared by content."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.base.errors import DataError, closest_name
from acclimate.base.files import read_lines
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats.fields import Located, Place
from acclimate.corpus.passages import split
from acclimate.records import Doc
from acclimate.run.input import Input


def read_ids(path: Path, documents: Corpus) -> frozenset[str]:
    """Read ids of documents to remove, one per line. Raises DataError for an unknown id."""
    doc_ids: set[str] = set()
    for number, line in read_lines(path):
        doc_id = line if line in documents else line.strip()
        if doc_id and doc_id not in documents:
            meant = closest_name(doc_id, documents.ids)
            hint = f" Did you mean {meant!r}?" if meant else ""
            raise DataError(f"no document {doc_id!r} in this run.{hint}", path=path, line=number)
        doc_ids |= {doc_id} - {""}
    if not doc_ids:
        raise DataError("no ids; expected the ids of documents to remove, one per line", path=path)
    return frozenset(doc_ids)


@dataclass(frozen=True)
class Changes:
    """The documents that a run searches, and how they are to change.

    now: the documents before the change. new: new and changed documents; unchanged ones among them are ignored.
    removed: ids of documents to remove. replaces: remove documents that are not in `new`.
    """

    now: Corpus
    new: Mapping[str, Doc]
    removed: frozenset[str] = frozenset()
    replaces: bool = False

    def __post_init__(self) -> None:
        """Raises DataError for a document that is both in `new` and to be removed."""
        for doc_id in sorted(self.removed):
            if doc_id in self.new:
                raise DataError(f"document {doc_id!r} is both added and removed; expected one of the two")

    def documents(self) -> Iterator[Doc]:
        """All documents after the change: in present order, new ones last; with `replaces`, in the order of `new`."""
        if self.replaces:
            yield from self.new.values()
            return
        for doc in self.now.values():
            if doc.doc_id not in self.removed:
                yield self.new.get(doc.doc_id, doc)
        yield from (doc for doc in self.new.values() if doc.doc_id not in self.now)

    def documents_with_fields(self) -> Located[Doc]:
        """`documents`, each with its other fields."""
        return Located(self._documents_with_fields())

    def _documents_with_fields(self) -> Iterator[tuple[Place, Doc, Mapping[str, Any]]]:
        for doc in self.documents():
            yield Place(Path(self.now.source)), doc, self.fields_of(doc.doc_id)

    def fields_of(self, doc_id: str) -> dict[str, Any]:
        """The other fields of a document after the change."""
        return _fields(self.new if doc_id in self.new else self.now, doc_id)

    @cached_property
    def came(self) -> frozenset[str]:
        """Ids of new documents."""
        return frozenset(doc_id for doc_id in self.new if doc_id not in self.now)

    @cached_property
    def changed(self) -> frozenset[str]:
        """Ids of documents whose title, text or other fields changed."""
        return frozenset(
            doc.doc_id
            for doc in self.new.values()
            if doc.doc_id not in self.came
            and (self.now[doc.doc_id] != doc or _fields(self.now, doc.doc_id) != _fields(self.new, doc.doc_id))
        )

    @property
    def absent(self) -> frozenset[str]:
        """Ids of documents that are neither in `new` nor to be removed."""
        return frozenset(doc_id for doc_id in self.now if doc_id not in self.new and doc_id not in self.removed)

    @cached_property
    def went(self) -> frozenset[str]:
        """Ids of documents that are gone."""
        return (self.absent if self.replaces else frozenset[str]()) | self.removed

    @property
    def by_kind(self) -> dict[str, frozenset[str]]:
        """Ids of the documents that came, changed and went."""
        return {"came": self.came, "changed": self.changed, "went": self.went}

    @property
    def counts(self) -> dict[str, int]:
        """The number of documents that came, changed and went."""
        return {name: len(doc_ids) for name, doc_ids in self.by_kind.items()}


def _fields(documents: Mapping[str, Doc], doc_id: str) -> dict[str, Any]:
    return documents.fields_of(doc_id) if isinstance(documents, Corpus) and documents.field_names else {}


class Rows:
    """Maps each row of the new index to a row of the present index or to a text to encode.

    `rows` fills while `units` is iterated: numbers below the length of the present index are its rows, higher ones
    count through `fresh`. Rows are documents, or passages of them.
    """

    def __init__(self, changes: Changes, now: Input) -> None:
        self._changes, self._now = changes, now
        self._rows = array("q")
        self.fresh: list[str] = []  # ids of documents or passages to encode

    def units(self, documents: Corpus) -> Iterator[Doc]:
        """Every document, or its passages (see `corpus.passages.split`)."""
        corpus, is_fresh = self._now.corpus, self._changes.came | self._changes.changed
        words, overlap = self._now.passage_words, self._now.passage_overlap
        for doc in documents.values():
            if doc.doc_id in is_fresh:
                units = split(doc, words, overlap)
                self._rows.extend(range(len(corpus) + len(self.fresh), len(corpus) + len(self.fresh) + len(units)))
                self.fresh += [unit.doc_id for unit in units]
            else:
                rows = self._of_document[doc.doc_id] if self._now.parents else [corpus.ids.rows[doc.doc_id]]
                units = [doc] if len(rows) == 1 else [corpus[corpus.ids[row]] for row in rows]
                self._rows.extend(rows)
            yield from units

    @property
    def rows(self) -> NDArray[np.int64]:
        """(n,) source of each row of the new index."""
        return np.frombuffer(self._rows, np.int64)

    @cached_property
    def _of_document(self) -> dict[str, range]:
        """The rows of each document, where documents were split."""
        rows: dict[str, range] = {}
        for row, doc_id in enumerate(self._now.corpus.ids):
            document = self._now.parents.get(doc_id, doc_id)
            rows[document] = range(rows[document].start if document in rows else row, row + 1)
        return rows
