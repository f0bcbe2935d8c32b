"""TSV files without a header; columns are identified by their number and content.

triples        query⇥positive text⇥negative text (InPars), quoted like CSV; triples-raw: a quote is a letter
triples-ids    query_id⇥pos_id⇥neg_id, and more negatives in further columns
pairs          query⇥passage⇥label, 0 or 1 (InPars); the rows of a query stand together
gpl-training   query_id⇥pos_id⇥neg_id⇥margin (GPL)
queries-tsv    query_id⇥text        documents-tsv  doc_id⇥text, perhaps ⇥title

No id may hold a tab or a line end. In a text these become blanks when it is written, as InPars does, and are counted.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path

from acclimate.base.errors import DataError
from acclimate.base.files import write_lines
from acclimate.base.text import counted
from acclimate.corpus.formats import fields, tables
from acclimate.corpus.formats.content import Content, Example, Row
from acclimate.corpus.formats.fields import Place, as_json, finite, identifier, number
from acclimate.corpus.formats.source import Source
from acclimate.records import Doc, Query


def read_triples(path: Path, *, is_raw: bool = False) -> Content:
    """One example of two texts per row."""
    return Content(
        examples=lambda: (
            Row(place, Example(query=query, texts=(positive, negative)))
            for place, (query, positive, negative) in _rows(path, 3, is_raw=is_raw)
        )
    )


def write_triples(path: Path, source: Source, *, is_raw: bool = False) -> int:
    """A row for each negative."""
    rows = (
        (source.lookup.query_text(row.record, row.place), row.record.texts[0], negative)
        for row in source.examples(ids=False, texts=True, negatives=True)
        for negative in row.record.texts[1:]
    )
    return _write_texts(path, rows, source, is_raw=is_raw)


def read_triples_ids(path: Path) -> Content:
    """One example per row, of any number of ids."""

    def examples() -> Iterator[Row[Example]]:
        for place, cells in _rows(path, 3, is_raw=True, or_more=True):
            query_id, *doc_ids = (identifier(cell, "id", place) for cell in cells)
            yield Row(place, Example(query_id, doc_ids=tuple(doc_ids)))

    return Content(examples=examples)


def write_triples_ids(path: Path, source: Source) -> int:
    """A row for each negative."""
    rows = (
        (row.place, (row.record.query_id, row.record.doc_ids[0], negative))
        for row in source.examples(negatives=True)
        for negative in row.record.doc_ids[1:]
    )
    return write_ids(path, rows)


def write_tuples_ids(path: Path, source: Source) -> int:
    """One row per example, with all its negatives."""
    return write_ids(path, ((row.place, (row.record.query_id, *row.record.doc_ids)) for row in source.examples()))


def read_pairs(path: Path) -> Content:
    """Consecutive rows of a query: one example per positive, with all negatives."""

    def examples() -> Iterator[Row[Example]]:
        for query, rows in groupby(_rows(path, 3), lambda row: row[1][0]):
            labelled = list(rows)
            for place, (_, _, label) in labelled:
                if label not in ("0", "1"):
                    raise place.error(f"the label is {as_json(label)}; expected 0 or 1")
            negatives = [passage for _, (_, passage, label) in labelled if label == "0"]
            positives = {passage: place for place, (_, passage, label) in labelled if label == "1"}
            if not positives:
                raise labelled[0][0].error(
                    f"the query {as_json(query)} has no passage with the label 1 in these rows; put those of a query "
                    f"together: sort {path.name}"
                )
            for passage, place in positives.items():
                yield Row(place, Example(query=query, texts=(passage, *negatives)))

    return Content(examples=examples)


def write_pairs(path: Path, source: Source) -> int:
    """One row per document, the positive first."""
    rows = (
        (source.lookup.query_text(row.record, row.place), text, str(int(n == 0)))
        for row in source.examples(ids=False, texts=True)
        for n, text in enumerate(row.record.texts)
    )
    return _write_texts(path, rows, source)


def read_margins(path: Path) -> Content:
    """GPL's training data: the margin is the score of the positive, against 0 for the negative."""

    def examples() -> Iterator[Row[Example]]:
        for place, (query_id, *doc_ids, margin) in _rows(path, 4, is_raw=True):
            ids = (identifier(doc_id, "document id", place) for doc_id in doc_ids)
            scores = (number(finite(margin, "margin", place), "margin", place), 0.0)
            yield Row(place, Example(identifier(query_id, "query id", place), "", tuple(ids), (), scores))

    return Content(examples=examples)


def write_margins(path: Path, source: Source) -> int:
    """One row per negative, with the margin of the positive."""

    def rows() -> Iterator[tuple[Place, tuple[str, ...]]]:
        for place, example, _ in source.examples(negatives=True):
            if not example.scores:
                raise place.error("an example without scores; GPL's training data are margins of scores")
            for doc_id, score in zip(example.doc_ids[1:], example.scores[1:], strict=True):
                yield place, (example.query_id, example.doc_ids[0], doc_id, repr(example.scores[0] - score))

    return write_ids(path, rows())


def read_queries(path: Path) -> Content:
    """The first two columns of each row; all rows must have the same number of columns."""
    return Content(queries=lambda: (Row(Place(path), query) for query in queries(path)))


def queries(path: Path) -> list[Query]:
    """The queries of a file, in its order."""
    rows = ((place, {"_id": cells[0], "text": cells[1]}) for place, cells in same_width(path))
    return fields.queries(rows, path)


def write_queries(path: Path, source: Source) -> int:
    """Id and text of each query."""
    return write_ids(
        path, ((row.place, (row.record.query_id, source.flat(row.record.text))) for row in source.queries())
    )


def read_docs(path: Path) -> Content:
    """Id, text and optional title of each document."""
    return Content(docs=lambda: (Row(*doc) for doc in docs(path)))


def docs(path: Path) -> Iterator[tuple[Place, Doc]]:
    """The documents of a file with their places, in its order."""
    for place, (doc_id, text, *title) in same_width(path):
        if place.line == 1 and doc_id == "id":  # the only header that ColBERT takes
            continue
        yield place, Doc(identifier(doc_id, "document id", place), text, title[0] if title else "")


def write_docs(path: Path, source: Source) -> int:
    """Id and text of each document, with the title at the start of the text."""
    return write_ids(
        path, ((row.place, (row.record.doc_id, source.flat(row.record.default_text()))) for row in source.docs())
    )


def write_ids(path: Path, rows: Iterable[tuple[Place, Sequence[str]]]) -> int:
    """Unescaped rows of cells. Raises DataError for a cell with a tab or line end, which would split it."""

    def lines() -> Iterator[str]:
        for place, cells in rows:
            for cell in cells:
                if any(mark in cell for mark in "\t\n\r"):
                    raise place.error(f"{as_json(cell)} has a tab or line end, which no id in a TSV file can have")
            yield "\t".join(cells)

    return _write(path, lines())


def _write_texts(path: Path, rows: Iterable[Sequence[str]], source: Source, *, is_raw: bool = False) -> int:
    def lines() -> Iterator[str]:
        for cells in rows:
            flat = [source.flat(cell) for cell in cells]
            if is_raw:
                yield "\t".join(flat)
                continue
            line = io.StringIO()
            csv.writer(line, delimiter="\t", lineterminator="").writerow(flat)
            yield line.getvalue()

    return _write(path, lines())


def _write(path: Path, lines: Iterator[str]) -> int:
    first = next(lines, None)
    if first is not None and first.startswith("\ufeff"):
        raise DataError("the first line would begin with a byte order mark, which is no part of a text", path=path)
    return write_lines(path, lines if first is None else chain([first], lines))


def _rows(path: Path, width: int, *, is_raw: bool = False, or_more: bool = False) -> Iterator[tuple[Place, list[str]]]:
    for place, cells in tables.headerless_rows(path, is_raw=is_raw):
        if len(cells) < width or (len(cells) > width and not or_more):
            raise place.error(
                f"found {counted(len(cells), 'cell')}; expected {width}{' or more' * or_more} between tabs"
            )
        yield place, cells


def same_width(path: Path) -> Iterator[tuple[Place, list[str]]]:
    """The cells of each line: at least two, as many as in the first line, without quoting."""
    width = 0
    for place, cells in tables.headerless_rows(path, is_raw=True):
        width = width or len(cells)
        if len(cells) != width or width < 2:
            raise place.error(
                f"found {counted(len(cells), 'cell')}; expected {max(width, 2)} between tabs, as in the first line"
            )
        yield place, cells
