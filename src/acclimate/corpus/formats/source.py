"""Records for writers: a file's content completed with the ids and texts that the target format needs.

Kinds are derived from each other: judged queries from synthetic queries with their sources and vice versa; training
examples with only a positive from both; judged queries from training examples by their positive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from acclimate.base.errors import DataError
from acclimate.corpus.formats.content import Content, Example, Row
from acclimate.corpus.formats.fields import Place
from acclimate.corpus.formats.lookup import Lookup
from acclimate.records import Doc, Qrel, Query, ScoredDoc, SyntheticQuery

T = TypeVar("T")

DUPLICATES = "documents left out that an example has twice"
ALONE = "examples left out whose only negative is their positive"
NO_NEGATIVE = "examples left out that have no negative"
NO_POSITIVE = "examples without a known positive, whose best document stands for it"
SCORES = "examples whose scores are left out"
OTHERS = "values left out that the format has no room for: "
FLAT = "texts whose tabs or line ends became blanks"
HASHED = "examples whose query has a hash for an id; --to queries, with the same options, writes the texts"
SPLITS = "splits left out beside train"


class Source:
    """Records for a writer, and `notes`: counts by reason of records omitted or changed."""

    def __init__(
        self,
        content: Content,
        path: Path,
        *,
        documents: Callable[[], Mapping[str, Doc] | None] = lambda: None,
        queries: Mapping[str, str] | None = None,
        room: str = "others scores positive",
    ) -> None:
        """documents: to look up texts and ids in; None if there are none. queries: id -> text.

        room: what the target format can hold beside texts and ids: other keys, scores, and whether the positive is
        known.
        """
        self.content, self.path, self.notes, self.room = content, path, content.notes, frozenset(room.split())
        self._queries = queries
        self.lookup = Lookup(path, documents, self._texts, has_query_ids=queries is not None)

    def docs(self) -> Iterator[Row[Doc]]:
        """The documents of the content, or those given beside it. Raises DataError for a repeated id."""
        if self.content.docs:
            return _of_new_ids(self._fitting(self.content.docs()))
        if self.lookup.documents is not None:
            return (Row(Place(self.path), doc) for doc in self.lookup.documents.values())
        raise self._lacks("documents; give them with --corpus FILE")

    def queries(self) -> Iterator[Row[Query]]:
        """The queries of the content, of its synthetic queries or examples, or those given beside it, each id once.

        Raises DataError for an id with two texts.
        """
        texts: dict[str, str] = {}
        for row in self._queries_held():
            text = texts.get(row.record.query_id)
            if text is None:
                texts[row.record.query_id] = row.record.text
                yield row
            elif text != row.record.text:
                raise row.place.error(
                    f"query {row.record.query_id!r} has another text earlier in the file; ids must be unique"
                )

    def _queries_held(self) -> Iterator[Row[Query]]:
        if self.content.queries:
            return self._fitting(self.content.queries())
        if self.content.synthetic:
            return (Row(place, query.as_query(), others) for place, query, others in self.synthetic())
        if self.content.examples:
            return (
                Row(place, Query(example.query_id, self.lookup.query_text(example, place)))
                for place, example, _ in self.examples()
            )
        if self._queries is not None:
            return (Row(Place(self.path), Query(*query)) for query in self._queries.items())
        raise self._lacks("queries; give them with --queries FILE")

    def judgments(self) -> Mapping[str, Callable[[], Iterator[Row[Qrel]]]]:
        """Judgments by split; source documents and positives count as judged 1, in the split `train`."""
        if self.content.qrels:
            return self.content.qrels
        if self.content.synthetic:
            return {"train": lambda: _once(_judged(row, row.record.doc_id) for row in self.synthetic())}
        if self.content.examples:
            return {"train": lambda: _once(_judged(row, row.record.doc_ids[0]) for row in self.examples())}
        raise self._lacks("judgments")

    def relevant(self) -> dict[str, dict[str, int]]:
        """The grades above 0 of all splits, by query and document."""
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
        """Synthetic queries, or judged queries paired with each relevant document."""
        if self.content.synthetic:
            return self._fitting(self.content.synthetic())
        if self.content.qrels:
            return self._answered()
        raise self._lacks("synthetic queries")

    def examples(self, *, ids: bool = True, texts: bool = False, negatives: bool = False) -> Iterator[Row[Example]]:
        """Training examples with ids, texts or both, each document once; from synthetic queries, with a positive only.

        negatives: drop examples without a negative, for formats with a row per negative. Raises DataError if only some
        examples have scores.
        """
        counted: Counter[str] = Counter()
        scored = None
        for row in self._fitting(self._examples()):
            if not (row.record.query or row.record.query_id):
                raise row.place.error("the query is empty; remove the line")
            counted[HASHED] += ids and not row.record.query_id and self._queries is None
            example = _distinct(self._completed(row, ids, texts))
            repeated = row.record.n_ways - example.n_ways
            counted[DUPLICATES] += repeated
            if example.n_ways < 2 and (repeated or negatives):
                counted[ALONE if repeated else NO_NEGATIVE] += 1
                continue
            scored = bool(example.scores) if scored is None else scored
            if scored is not bool(example.scores):
                raise row.place.error(
                    f"an example {'without' if scored else 'with'} scores among those {'with' if scored else 'without'}"
                    "; expected scores in all of them or in none"
                )
            if scored and "scores" not in self.room:
                counted[SCORES] += 1
                example = example._replace(scores=())
            counted[NO_POSITIVE] += not example.has_positive and "positive" not in self.room
            yield row._replace(record=example)
        self.notes |= counted  # equal for each pass

    def flat(self, text: str) -> str:
        """A text on one line, for a table cell."""
        if not any(mark in text for mark in "\t\n\r"):
            return text
        self.notes[FLAT] += 1
        return text.replace("\r\n", " ").replace("\t", " ").replace("\n", " ").replace("\r", " ")

    def _texts(self) -> Mapping[str, str] | None:
        """Texts of the queries given beside or in the file, by id."""
        if self._queries is not None or self.content.queries is None:
            return self._queries
        return dict(row.record for row in self.content.queries())

    def _examples(self) -> Iterator[Row[Example]]:
        if self.content.examples:
            yield from self.content.examples()
            return
        if not (self.content.synthetic or self.content.qrels):
            raise self._lacks("training examples")
        for place, query, others in self.synthetic():
            text = others.get("text")
            yield Row(place, Example(query.query_id, query.text, (query.doc_id,), (text,) if text else ()))

    def _answered(self) -> Iterator[Row[SyntheticQuery]]:
        splits = self.content.qrels
        if len(splits) > 1 and "train" not in splits:
            raise DataError(
                f"has judgments of {' and '.join(splits)}; expected those of train, or of one", path=self.path
            )
        self.notes |= Counter({SPLITS: len(splits) - 1})
        rows = splits["train"] if "train" in splits else next(iter(splits.values()))
        for place, qrel, _ in rows():
            if qrel.relevance > 0:
                query = self.lookup.query_text(Example(qrel.query_id), place)
                yield Row(place, SyntheticQuery(qrel.query_id, query, qrel.doc_id, float("nan")))

    def _completed(self, row: Row[Example], ids: bool, texts: bool) -> Example:
        place, example, _ = row
        if texts:
            example = example._replace(query=self.lookup.query_text(example, place))
            if not example.texts:
                looked_up = tuple(self.lookup.doc_text(doc_id, place) for doc_id in example.doc_ids)
                example = example._replace(texts=looked_up)
        if ids:
            if not example.doc_ids:
                looked_up = tuple(self.lookup.doc_id(text, place) for text in example.texts)
                example = example._replace(doc_ids=looked_up)
            example = example._replace(query_id=self.lookup.query_id(example, place))
        return example

    def _fitting(self, rows: Iterator[Row[T]]) -> Iterator[Row[T]]:
        """The rows, counting keys that the target format cannot hold."""
        counted: Counter[str] = Counter()
        for row in rows:
            if "others" not in self.room:
                counted.update(OTHERS + name for name in row.others)
            yield row
        self.notes |= counted

    def _lacks(self, what: str) -> DataError:
        return DataError(f"holds {self.content}, not {what}", path=self.path)


def _distinct(example: Example) -> Example:
    """The example without repeated documents."""
    docs = example.doc_ids or example.texts
    first = {doc: n for n, doc in reversed(list(enumerate(docs)))}
    return example if len(first) == len(docs) else example.keeping(sorted(first.values()))


def _judged(row: Row[SyntheticQuery] | Row[Example], doc_id: str) -> Row[Qrel]:
    return Row(row.place, Qrel(row.record.query_id, doc_id, 1))


def _of_new_ids(rows: Iterator[Row[Doc]]) -> Iterator[Row[Doc]]:
    seen: set[str] = set()
    for row in rows:
        if row.record.doc_id in seen:
            raise row.place.error(f"id {row.record.doc_id!r} appears twice; ids must be unique")
        seen.add(row.record.doc_id)
        yield row


def _once(rows: Iterator[Row[T]]) -> Iterator[Row[T]]:
    """Rows without duplicates."""
    seen: set[T] = set()
    for row in rows:
        if row.record not in seen:
            seen.add(row.record)
            yield row
