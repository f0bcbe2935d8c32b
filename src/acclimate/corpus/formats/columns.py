"""Training columns of sentence-transformers: identified by their order, not their names, except for label.

columns         anchor, positive, negative_1 ... negative_n       MultipleNegativesRankingLoss of each kind of model
columns-scores  query, positive, negative_1 ... negative_n, label (n + 1 scores)      MarginMSE and DistillKLDiv losses;
                for MultiVectorDistillKLDivLoss the same columns are document_1 ... document_N
columns-pairs   text_a, text_b, label: the score, or 1 for the positive and 0         BinaryCrossEntropy and MSE losses
columns-lists   query, docs (a list), labels (a list): scores, or 1 and 0             LambdaLoss and other list losses

All rows have the same columns, so all examples have the same number of negatives, except in lists and pairs. Only these
columns are written, because any further text would be one more negative. These names are read, those of
mine_hard_negatives, and negatives as a list in one column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from acclimate.base.text import counted
from acclimate.corpus.formats.content import Content, Example, Row
from acclimate.corpus.formats.fields import Field, Place, as_json, number, pick, read_field, text, without
from acclimate.corpus.formats.rows import json_list, objects
from acclimate.corpus.formats.source import Source
from acclimate.corpus.formats.writing import write_objects

QUERY = Field("query", ("query", "anchor", "sentence1", "question"))
POSITIVE = Field("positive", ("positive", "document_1", "answer", "sentence2"))
DOCS = Field("list of documents", ("docs", "texts", "documents"))
PAIR = (
    Field("query", ("text_a", "query", "anchor", "sentence1")),
    Field("document", ("text_b", "text", "document", "sentence2")),
)
LABEL = Field("label", ("label", "labels", "score", "scores"))
_NEGATIVE = re.compile(r"((?:hard_)?negatives?|document)(?:_([0-9]{1,6}))?")


def read(path: Path) -> Content:
    """Rows of a query, a positive and any number of negatives, optionally with scores or margins."""

    def examples() -> Iterator[Row[Example]]:
        for place, values in objects(path):
            query_name, positive_name = pick(values, QUERY, place), pick(values, POSITIVE, place)
            negatives = [name for name in values if _NEGATIVE.fullmatch(name) and name != positive_name]
            negatives.sort(key=_place_of)
            texts = (
                text(values[positive_name], positive_name, place),
                *(negative for name in negatives for negative in _negatives(values[name], name, place)),
            )
            scores: tuple[float, ...] = ()
            label = next((name for name in LABEL.names if values.get(name) is not None), None)
            if label:
                scores = _scores(values[label], label, len(texts), place)
            used = {query_name, positive_name, *negatives, *([label] if label else [])}
            others = without(values, used)
            query = text(values[query_name], query_name, place)
            yield Row(place, Example(query=query, texts=texts, scores=scores), others)

    return Content(examples=examples)


def write(path: Path, source: Source) -> int:
    """columns: texts alone."""
    return write_objects(path, (_texts("anchor", row) for row in _of_one_width(source)))


def write_scores(path: Path, source: Source) -> int:
    """columns-scores: one score per document, the positive's first."""

    def rows() -> Iterator[dict[str, Any]]:
        for row in _of_one_width(source):
            if not row.record.scores:
                raise row.place.error("an example without scores; these columns are for what a teacher has scored")
            yield {**_texts("query", row), "label": list(row.record.scores)}

    return write_objects(path, rows())


def read_pairs(path: Path) -> Content:
    """Consecutive rows of a query: label 1 marks a positive; with scores, the first row is the positive."""

    def examples() -> Iterator[Row[Example]]:
        for query, rows in groupby(objects(path), lambda row: read_field(row[1], PAIR[0], text, row[0])):
            docs = [
                (place, read_field(values, PAIR[1], text, place), read_field(values, LABEL, _label, place))
                for place, values in rows
            ]
            labels = tuple(label for _, _, label in docs)
            if set(labels) <= {0.0, 1.0}:
                negatives = [doc for _, doc, label in docs if not label]
                positives = {doc: place for place, doc, label in docs if label}
                if not positives:
                    raise docs[0][0].error(
                        f"the query {as_json(query)} has no document with the label 1 in these rows; put those of a "
                        "query together"
                    )
                for doc, place in positives.items():
                    yield Row(place, Example(query=query, texts=(doc, *negatives)))
            else:
                yield Row(docs[0][0], Example(query=query, texts=tuple(doc for _, doc, _ in docs), scores=labels))

    return Content(examples=examples)


def write_pairs(path: Path, source: Source) -> int:
    """columns-pairs: one row per document, the positive first."""
    return write_objects(
        path,
        (
            {"text_a": example.query, "text_b": doc, "label": label}
            for _, example, _ in source.examples(ids=False, texts=True)
            for doc, label in zip(example.texts, _labels(example), strict=True)
        ),
    )


def read_lists(path: Path) -> Content:
    """A list in each row: the document with label 1 is the positive; with scores, the first."""

    def examples() -> Iterator[Row[Example]]:
        for place, values in objects(path):
            query_name, docs_name = pick(values, QUERY, place), pick(values, DOCS, place)
            docs = tuple(text(doc, docs_name, place) for doc in json_list(values[docs_name], docs_name, place))
            label = pick(values, LABEL, place)
            labels = _scores(values[label], label, len(docs), place)
            example = Example(query=text(values[query_name], query_name, place), texts=docs, scores=labels)
            others = without(values, (query_name, docs_name, label))
            if not set(labels) <= {0.0, 1.0}:
                yield Row(place, example, others)
                continue
            if 1.0 not in labels:
                raise place.error("no document has the label 1; expected a positive, or remove the line")
            negatives = [n for n, label in enumerate(labels) if not label]
            for n, label in enumerate(labels):
                if label:
                    yield Row(place, example.keeping([n, *negatives])._replace(scores=()), others)

    return Content(examples=examples)


def write_lists(path: Path, source: Source) -> int:
    """columns-lists: the positive first."""
    return write_objects(
        path,
        (
            {"query": example.query, "docs": list(example.texts), "labels": list(_labels(example))}
            for _, example, _ in source.examples(ids=False, texts=True)
        ),
    )


def _negatives(value: Any, name: str, place: Place) -> list[str]:
    """The negatives in a column: a text, or a list of texts, which a text table holds as JSON."""
    texts = json_list(value, name, place) if name.endswith("negatives") or isinstance(value, list) else [value]
    return [text(negative, name, place) for negative in texts]


def _labels(example: Example) -> tuple[float, ...]:
    """Scores, or 1 for the positive and 0 for the others."""
    return example.scores or (1.0, *[0.0] * (example.n_ways - 1))


def _texts(query_name: str, row: Row[Example]) -> dict[str, Any]:
    positive, *negatives = row.record.texts
    return {query_name: row.record.query, "positive": positive} | {
        f"negative_{n}": negative for n, negative in enumerate(negatives, 1)
    }


def _of_one_width(source: Source) -> Iterator[Row[Example]]:
    width = 0
    for row in source.examples(ids=False, texts=True):
        width = width or row.record.n_ways
        if row.record.n_ways != width:
            raise row.place.error(
                f"an example of {counted(row.record.n_ways, 'document')}, and the first has {width}; columns "
                "need as many in all: columns-lists and columns-pairs do not"
            )
        yield row


def _scores(value: Any, name: str, n_docs: int, place: Place) -> tuple[float, ...]:
    """One score per document, or margins of the positive over each negative, read as negative scores against its 0."""
    value = _as_number(value)
    if n_docs == 2 and isinstance(value, int | float):
        value = [value]  # the margin of a triple
    scores = tuple(number(score, name, place) for score in json_list(value, name, place))
    if len(scores) == n_docs - 1 and n_docs > 1:
        return (0.0, *(-score for score in scores))
    if len(scores) != n_docs:
        raise place.error(f"{name!r}: found {len(scores)} of them; expected one per document, {n_docs}")
    return scores


def _label(value: Any, name: str, place: Place) -> float:
    return number(_as_number(value), name, place)


def _as_number(value: Any) -> Any:
    """The number in a cell of a text table, or the value as it is."""
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    return value


def _place_of(name: str) -> tuple[int, str]:
    match = _NEGATIVE.fullmatch(name)
    return (int(match[2]) if match and match[2] else 0, name)
