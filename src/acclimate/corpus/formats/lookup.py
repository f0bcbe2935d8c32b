"""Look up texts by id and ids by text, in documents and queries given beside a file.

Texts are compared as models read them and regardless of white space, because writers of tables turn line ends into
blanks. A failed lookup is an error that names the option to give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path

from acclimate.base.digests import text_digest
from acclimate.base.errors import DataError
from acclimate.base.text import counted
from acclimate.corpus.formats.content import Example
from acclimate.corpus.formats.fields import Place, as_json
from acclimate.corpus.formats.synthetic import synthetic_id
from acclimate.records import Doc


class Lookup:
    """Documents and queries given beside a file. Of documents with the same text, the first is found."""

    def __init__(
        self,
        path: Path,
        documents: Callable[[], Mapping[str, Doc] | None],
        queries: Callable[[], Mapping[str, str] | None],
        *,
        has_query_ids: bool,
    ) -> None:
        """path: of the file, for errors. documents, queries: called once, at the first lookup.

        has_query_ids: whether queries given as texts have their ids in `queries`; if not, they get the ids of synthetic
        queries.
        """
        self._path, self._documents, self._queries, self._has_query_ids = path, documents, queries, has_query_ids

    @cached_property
    def documents(self) -> Mapping[str, Doc] | None:
        """Documents by id; None if none are given."""
        return self._documents()

    @cached_property
    def queries(self) -> Mapping[str, str] | None:
        """Query texts by id; None if none are given."""
        return self._queries()

    def doc_text(self, doc_id: str, place: Place) -> str:
        """The text of a document, as models read it."""
        if self.documents is None:
            raise place.error(f"document {doc_id!r} has no text here; give it with --corpus FILE")
        if doc_id not in self.documents:
            raise place.error(f"document {doc_id!r} is none of the {counted(len(self.documents), 'document')}")
        return self.documents[doc_id].default_text()

    def doc_id(self, text: str, place: Place) -> str:
        """The id of the document with this text."""
        doc_id = self._doc_ids.get(text_key(text))
        if doc_id is None:
            raise place.error(
                f"the document {as_json(text)} is none of the {counted(len(self.documents or ()), 'document')}"
            )
        return doc_id

    def query_text(self, example: Example, place: Place) -> str:
        """The text of an example's query: its own, or that of its id."""
        if example.query:
            return example.query
        if self.queries is None:
            raise place.error(
                f"query {example.query_id!r} has no text here; give it with --queries FILE (adapt: --from-queries)"
            )
        if example.query_id not in self.queries:
            raise place.error(f"query {example.query_id!r} is none of the {counted(len(self.queries), 'query')}")
        return self.queries[example.query_id]

    def query_id(self, example: Example, place: Place) -> str:
        """The id of an example's query: its own, that of its text, or a hash of the text and the positive's id."""
        if example.query_id:
            return example.query_id
        if not self._has_query_ids:
            return synthetic_id(example.doc_ids[0], example.query)
        query_id = self._query_ids.get(text_key(example.query))
        if query_id is None:
            raise place.error(
                f"the query {as_json(example.query)} is none of the {counted(len(self._query_ids), 'query')}"
            )
        return query_id

    @cached_property
    def _doc_ids(self) -> dict[bytes, str]:
        if self.documents is None:
            raise DataError("has texts without ids; give the documents with --corpus FILE", path=self._path)
        ids: dict[bytes, str] = {}
        for doc in self.documents.values():
            for text in (doc.default_text(), doc.text, f"{doc.title} | {doc.text}"):  # the last is ColBERT's
                ids.setdefault(text_key(text), doc.doc_id)
        return ids

    @cached_property
    def _query_ids(self) -> dict[bytes, str]:
        ids: dict[bytes, str] = {}
        for query_id, text in (self.queries or {}).items():
            ids.setdefault(text_key(text), query_id)
        return ids


@lru_cache(1024)  # rows of a query repeat its text and that of its positive
def text_key(text: str) -> bytes:
    """Equal for texts that differ only in white space, because tables are often written without line ends."""
    return text_digest(" ".join(text.split()))
