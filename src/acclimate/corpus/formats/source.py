"""What a writer asks for: the records of one content, completed by documents and queries that are given beside it.

Formats carry ids, or texts, or both. What is missing is looked up: a text by its id, an id by the text as models read
it (white space aside, because writers of tables turn line ends into blanks). What cannot be looked up is an error
that names the option to give.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

from acclimate.base.errors import DataError
from acclimate.corpus.formats.content import Content, Example, Row
from acclimate.corpus.formats.fields import Place, as_json
from acclimate.corpus.formats.synthetic import synthetic_id
from acclimate.records import Doc, Qrel, Query, ScoredDoc, SyntheticQuery

T = TypeVar("T")

DUPLICATES = "documents left out that an example has twice"
ALONE = "examples left out whose only negative is their positive"
FLAT = "texts whose tabs or line ends became blanks"
SAME_TEXT = "documents with the text of an earlier one, which is meant"
OTHERS = "values left out that the format has no room for: "
SCORES = "examples whose scores are left out"
NO_NEGATIVE = "examples left out that have no negative"
NO_POSITIVE = "examples without a known positive, whose best document stands for it"


class Source:
    """Records for a writer, and `notes`: what was left out or changed on the way, counted by reason."""

    def __init__(
        self,
        content: Content,
        path: Path,
        *,
        documents: Callable[[], Mapping[str, Doc] | None] = lambda: None,
        queries: Mapping[str, str] | None = None,
        room: str = "others scores positive",
    ) -> None:
        """documents: those that texts and ids are looked up in; None where there are none. queries: id -> text.

        room: what the format written has room for, beside texts and ids: keys of any other name, scores, and whether a
        document is known to be the positive.
        """
        self.content, self.path, self._documents, self._queries = content, path, documents, queries
        self.room = frozenset(room.split())
        self.notes = content.notes

    def docs(self) -> Iterator[Row[Doc]]:
        """The documents that it holds, or else those given beside it."""
        if self.content.docs:
            return self._fitting(self.content.docs())
        if self.documents is not None:
            return (Row(Place(self.path), doc) for doc in self.documents.values())
        raise self._lacks("documents", "give them with --corpus FILE")

    def queries(self) -> Iterator[Row[Query]]:
        """The queries that it holds, or those of its synthetic queries or examples, each once, or those given."""
        if self.content.queries:
            return self._fitting(self.content.queries())
        if self.content.synthetic:
            return _once(Row(row.place, row.record.as_query(), row.others) for row in self.synthetic())
        if self.content.examples:
            return _once(
                Row(row.place, Query(row.record.query_id, self.query_text(row.record, row.place)))
                for row in self.examples()
            )
        if self._queries is not None:
            return (Row(Place(self.path), Query(*query)) for query in self._queries.items())
        raise self._lacks("queries", "give them with --queries FILE")

    def judgments(self) -> Mapping[str, Callable[[], Iterator[Row[Qrel]]]]:
        """Judgments by split; the documents that queries were written for, and positives, are judged 1 in `train`."""
        if self.content.qrels:
            return self.content.qrels
        if self.content.synthetic:
            return {"train": lambda: _once(map(_judged, self.synthetic()))}
        if self.content.examples:
            return {"train": lambda: _once(map(_positive, self.examples()))}
        raise self._lacks("judgments")

    def relevant(self) -> dict[str, dict[str, int]]:
        """The grades above 0, by query and document, of all splits."""
        grades: dict[str, dict[str, int]] = {}
        for rows in self.judgments().values():
            for _, qrel, _ in rows():
                if qrel.relevance > 0:
                    grades.setdefault(qrel.query_id, {})[qrel.doc_id] = qrel.relevance
        return grades

    def run(self) -> Iterator[Row[ScoredDoc]]:
        """The hits of a run."""
        if self.content.run:
            return self.content.run()
        raise self._lacks("a run")

    def synthetic(self) -> Iterator[Row[SyntheticQuery]]:
        """Synthetic queries; of judged queries, each with each document that is relevant."""
        if self.content.synthetic:
            return self._fitting(self.content.synthetic())
        if self.content.qrels:
            return self._written()
        raise self._lacks("synthetic queries")

    def examples(self, *, ids: bool = True, texts: bool = False, negatives: bool = False) -> Iterator[Row[Example]]:
        """Training examples with ids, texts or both, each document once; of synthetic queries, their positives alone.

        negatives: examples without one are left out, because the format has a row for each negative. Raises DataError
        where some examples have scores and others have not.
        """
        scored, self.notes[DUPLICATES], self.notes[ALONE] = None, 0, 0
        self.notes[SCORES] = self.notes[NO_POSITIVE] = self.notes[NO_NEGATIVE] = 0
        for row in self._fitting(self._examples()):
            example = self._distinct(self._completed(row, ids, texts))
            if example is None:
                continue
            if scored is None:
                scored = bool(example.scores)
            if scored is not bool(example.scores):
                raise row.place.error(
                    f"an example {'without' if scored else 'with'} scores among those {'with' if scored else 'without'}"
                    "; expected scores in all of them or in none"
                )
            if negatives and example.n_ways < 2:
                self.notes[NO_NEGATIVE] += 1
                continue
            if example.scores and "scores" not in self.room:
                self.notes[SCORES] += 1
                example = example._replace(scores=())
            if not example.has_positive and "positive" not in self.room:
                self.notes[NO_POSITIVE] += 1
            yield row._replace(record=example)

    def query_text(self, example: Example, place: Place) -> str:
        """The text of an example's query."""
        if example.query:
            return example.query
        if self.query_texts is None:
            raise place.error(f"query {example.query_id!r} has no text here; give it with --queries FILE")
        if example.query_id not in self.query_texts:
            raise place.error(f"query {example.query_id!r} is none of the {len(self.query_texts):,} queries")
        return self.query_texts[example.query_id]

    def doc_text(self, doc_id: str, place: Place) -> str:
        """The text of a document, as models read it."""
        if self.documents is None:
            raise place.error(f"document {doc_id!r} has no text here; give it with --corpus FILE")
        if doc_id not in self.documents:
            raise place.error(f"document {doc_id!r} is none of the {len(self.documents):,} documents")
        return self.documents[doc_id].default_text()

    def flat(self, text: str) -> str:
        """A text as one cell of a line."""
        if any(mark in text for mark in "\t\n\r"):
            self.notes[FLAT] += 1
            return " ".join(text.replace("\r\n", " ").replace("\t", " ").replace("\n", " ").split("\r"))
        return text

    @cached_property
    def documents(self) -> Mapping[str, Doc] | None:
        """Those given, in which texts and ids are looked up."""
        return self._documents()

    @cached_property
    def query_texts(self) -> Mapping[str, str] | None:
        """Text by query id, of the queries given or held."""
        if self._queries is not None:
            return self._queries
        return dict(row.record for row in self.content.queries()) if self.content.queries else None

    def _examples(self) -> Iterator[Row[Example]]:
        if self.content.examples:
            yield from self.content.examples()
            return
        if not (self.content.synthetic or self.content.qrels):
            raise self._lacks("training examples")
        for place, query, others in self.synthetic():
            text = others.get("text")
            yield Row(place, Example(query.query_id, query.text, (query.doc_id,), (text,) if text else ()))

    def _fitting(self, rows: Iterator[Row[T]]) -> Iterator[Row[T]]:
        """Rows, after counting what else is in them where the format has no room for it."""
        if "others" in self.room:
            yield from rows
            return
        left_out: Counter[str] = Counter()
        for row in rows:
            left_out.update(row.others.keys())
            yield row
        self.notes.update({OTHERS + name: count for name, count in left_out.items() if OTHERS + name not in self.notes})

    def _written(self) -> Iterator[Row[SyntheticQuery]]:
        splits = self.content.qrels
        if len(splits) > 1 and "train" not in splits:
            raise DataError(
                f"has judgments of {' and '.join(splits)}; expected those of train, or of one", path=self.path
            )
        rows = splits["train"] if "train" in splits else next(iter(splits.values()))
        for place, qrel, _ in rows():
            if qrel.relevance > 0:
                query = self.query_text(Example(qrel.query_id), place)
                yield Row(place, SyntheticQuery(qrel.query_id, query, qrel.doc_id, float("nan")))

    def _completed(self, row: Row[Example], ids: bool, texts: bool) -> Example:
        place, example, _ = row
        if texts:
            example = example._replace(query=self.query_text(example, place))
            if not example.texts:
                example = example._replace(texts=tuple(self.doc_text(doc_id, place) for doc_id in example.doc_ids))
        if ids and not example.doc_ids:
            example = example._replace(doc_ids=tuple(self._doc_id(text, place) for text in example.texts))
        if ids and not example.query_id:
            example = example._replace(query_id=self._query_id(example, place))
        return example

    def _distinct(self, example: Example) -> Example | None:
        docs = example.doc_ids or example.texts
        first = {doc: n for n, doc in reversed(list(enumerate(docs)))}
        if len(first) == len(docs):
            return example
        self.notes[DUPLICATES] += len(docs) - len(first)
        if len(first) == 1:
            self.notes[ALONE] += 1
            return None
        return example.keeping(sorted(first.values()))

    def _doc_id(self, text: str, place: Place) -> str:
        doc_id = self._ids_by_text.get(_key(text))
        if doc_id is None:
            raise place.error(f"the document {as_json(text)} is none of the {len(self.documents or ()):,} documents")
        return doc_id

    @cached_property
    def _ids_by_text(self) -> dict[bytes, str]:
        if self.documents is None:
            raise DataError("has texts without ids; give the documents with --corpus FILE", path=self.path)
        ids: dict[bytes, str] = {}
        for doc in self.documents.values():
            for text in dict.fromkeys((doc.default_text(), doc.text, f"{doc.title} | {doc.text}")):
                if ids.setdefault(_key(text), doc.doc_id) != doc.doc_id and text == doc.default_text():
                    self.notes[SAME_TEXT] += 1
        return ids

    def _query_id(self, example: Example, place: Place) -> str:
        """That of the query given with this text; where none are given, a hash of its text and its positive."""
        if self._queries is None:
            return synthetic_id(example.doc_ids[0], example.query)
        query_id = self._query_ids.get(_key(example.query))
        if query_id is None:
            raise place.error(f"the query {as_json(example.query)} is none of the {len(self._queries):,} queries")
        return query_id

    @cached_property
    def _query_ids(self) -> dict[bytes, str]:
        ids: dict[bytes, str] = {}
        for query_id, text in (self._queries or {}).items():
            ids.setdefault(_key(text), query_id)
        return ids

    def _lacks(self, kind: str, advice: str = "") -> DataError:
        return DataError(f"holds {self.content}, not {kind}{'; ' if advice else ''}{advice}", path=self.path)


@lru_cache(1024)  # the rows of a query have its text and its positive's again and again
def _key(text: str) -> bytes:
    return hashlib.blake2b(" ".join(text.split()).encode(), digest_size=16).digest()


def _judged(row: Row[SyntheticQuery]) -> Row[Qrel]:
    return Row(row.place, Qrel(row.record.query_id, row.record.doc_id, 1))


def _positive(row: Row[Example]) -> Row[Qrel]:
    return Row(row.place, Qrel(row.record.query_id, row.record.doc_ids[0], 1))


def _once(rows: Iterator[Row[T]]) -> Iterator[Row[T]]:
    """Rows without those whose record came before."""
    seen: set[T] = set()
    for row in rows:
        if row.record not in seen:
            seen.add(row.record)
            yield row
