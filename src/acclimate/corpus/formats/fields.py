"""Shared by all readers: columns by name, value checks, and the places of records.

Decided: ids are text and never cast. A JSON or Parquet integer becomes its decimal text, which loses nothing; a float,
boolean or null is refused. Columns are found by name, in any order. Names of a few other tools are accepted: the first
listed wins, and two of the others together are refused.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from acclimate.base.errors import DataError
from acclimate.base.text import quoted
from acclimate.records import Doc, Query

T = TypeVar("T")


class Field(NamedTuple):
    """A field and its accepted column names."""

    what: str
    names: tuple[str, ...]


DOC_ID = Field("document id", ("_id", "doc_id", "docid", "docno", "id", "document_id"))
DOC_TEXT = Field("document text", ("text", "contents", "content", "body", "document_text", "doc_text", "passage"))
TITLE = Field("title", ("title",))
QUERY_ID = Field("query id", ("_id", "query_id", "qid", "id"))
QUERY_TEXT = Field("query text", ("text", "query", "question"))

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")  # as C reads one
_LARGEST = 1e15


class Place(NamedTuple):
    """Where a record was read; `line` is the row in a Parquet file, and None if the record is a whole file."""

    path: Path
    line: int | None = None

    def error(self, message: str) -> DataError:
        """A DataError with this place."""
        return DataError(message, path=self.path, line=self.line)


class Located(Iterator[T], Generic[T]):
    """An iterator of records. `place` and `others` belong to the last record: where it was read, and its other keys;
    `dropped` counts skipped records by reason.

    The first record is read at once, so that an unusable file is refused where it is named.
    """

    def __init__(
        self,
        records: Iterable[tuple[Place, T] | tuple[Place, T, Mapping[str, Any]]],
        *,
        dropped: Counter[str] | None = None,
    ) -> None:
        rest = iter(records)
        self._records = chain([first], rest) if (first := next(rest, None)) else rest
        self.dropped: Counter[str] = Counter() if dropped is None else dropped
        self.place: Place | None = None
        self.others: Mapping[str, Any] = {}

    def __next__(self) -> T:
        self.place, record, *others = next(self._records)
        self.others = others[0] if others else {}
        return record


def pick(names: Iterable[str], field: Field, place: Place) -> str:
    """The column among `names` that holds `field`."""
    columns = names if isinstance(names, dict) else list(names)
    present = [name for name in field.names if name in columns]
    if len(present) == 1 or field.names[0] in present:
        return present[0]
    if present:
        raise place.error(
            f"{' and '.join(map(repr, present))} could both be the {field.what}; name the right one {field.names[0]!r}"
        )
    raise place.error(missing(list(columns), field))


def read_field(values: Mapping[str, Any], field: Field, read: Callable[[Any, str, Place], T], place: Place) -> T:
    """What `read`, such as `identifier`, makes of the value in the column that holds `field`."""
    name = pick(values, field, place)
    return read(values[name], name, place)


def missing(columns: list[str], field: Field) -> str:
    """The error message for a missing field."""
    listed = ", ".join(as_json(name) for name in columns[:12]) + (", ..." if len(columns) > 12 else "")
    message = f"no {field.what}: found {listed or 'nothing'}; expected {' or '.join(map(repr, field.names))}"
    if len(columns) == 1 and (mark := next((mark for mark in ";\t|," if mark in columns[0]), "")):
        return f"{message}. It looks as if {mark!r} separated the columns: save the file as CSV with commas, or as TSV"
    for name in columns:
        if name.strip() in field.names:
            return f"{message}. Remove the blanks around {name!r}"
    if match := closest(columns, field):
        return f"{message}. The closest is {as_json(match)}: rename it"
    if field == DOC_ID:
        return f"{message}. To number the documents, add a column 'id'"
    if field == DOC_TEXT and {"question", "answer"} <= {name.strip().casefold() for name in columns[:1000]}:
        return f"{message}. Of questions and answers, rename 'question' to 'title' and 'answer' to 'text'"
    return message


def closest(columns: list[str], field: Field) -> str | None:
    """The column name most similar to a field's names, if any."""
    taken = {name for each in (DOC_ID, DOC_TEXT, QUERY_ID, QUERY_TEXT) for name in each.names} - {*field.names}
    folded = {name.strip().casefold()[:40]: name for name in columns[:1000] if name not in taken}
    matches = [n for wanted in field.names for n in difflib.get_close_matches(wanted, folded, n=1, cutoff=0.6)]
    return folded[matches[0]] if matches else None


def identifier(value: Any, name: str, place: Place) -> str:
    """An id: non-empty text, or an integer converted to text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise place.error(f"{name!r} is {as_json(value)}; expected an id: text that is not empty, or a whole number")
    return unbroken(value, name, place)


def text(value: Any, name: str, place: Place) -> str:
    """A text, which may be empty."""
    if not isinstance(value, str):
        raise place.error(f"{name!r} is {as_json(value)}; expected text")
    return unbroken(value, name, place)


def unbroken(value: str, name: str, place: Place) -> str:
    """`value` itself. Raises DataError if it cannot be encoded as UTF-8."""
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise place.error(f"{name!r} has half a surrogate pair (\\ud800-\\udfff), which is not a character; remove it")
    return value


def number(value: Any, name: str, place: Place) -> float:
    """A number from JSON whose square fits in single precision, as scores are normalized in it."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return float(value)
    raise place.error(f"{name!r} is {as_json(value)}; expected a number from -1e15 to 1e15")


def finite(cell: str, name: str, place: Place) -> float:
    """The number in a cell of a text table, as C reads it, so as trec_eval does."""
    value = float(cell) if NUMBER.fullmatch(cell) else math.nan
    if not math.isfinite(value):
        raise place.error(f"{name!r} is {as_json(cell)}; expected a finite number")
    return value


def as_json(value: Any) -> str:
    """A value for an error message: as JSON, with only what cannot be printed escaped, and shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, RecursionError):  # nested too deeply, or a number of thousands of digits
        text = quoted(value)
    text = "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text[:61])
    return text if len(text) <= 60 else f"{text[:57]}..."


def docs(rows: Iterable[tuple[Place, Mapping[str, Any]]]) -> Iterator[tuple[Place, Doc, dict[str, Any]]]:
    """A Doc from each row with document id, text and optional title, and the row's other keys."""
    for place, row in rows:
        id_name, text_name = pick(row, DOC_ID, place), pick(row, DOC_TEXT, place)
        title = row.get("title")
        yield (
            place,
            Doc(
                doc_id=identifier(row[id_name], id_name, place),
                text=text(row[text_name], text_name, place),
                title="" if title is None else text(title, "title", place),
            ),
            without(row, (id_name, text_name, "title")),
        )


def without(row: Mapping[str, Any], names: Container[str]) -> dict[str, Any]:
    """A row without the values of these names."""
    return {name: value for name, value in row.items() if name not in names}


def queries(rows: Iterable[tuple[Place, Mapping[str, Any]]], path: Path) -> list[Query]:
    """A Query from each row with query id and text. Raises DataError for a repeated id or a blank text."""
    read: dict[str, tuple[Query, Place]] = {}
    for place, row in rows:
        id_name, text_name = pick(row, QUERY_ID, place), pick(row, QUERY_TEXT, place)
        query = Query(identifier(row[id_name], id_name, place), text(row[text_name], text_name, place))
        if not query.text.strip():
            raise place.error(f"{text_name!r} of query {query.query_id!r} is empty; remove the line or write the query")
        if query.query_id in read:
            first = read[query.query_id][1].line
            raise place.error(
                f"{id_name!r} {query.query_id!r} appears twice, first in line {first}; ids must be unique"
            )
        read[query.query_id] = query, place
    if not read:
        raise DataError("no queries in this file; expected one JSON object or row per query", path=path)
    return [query for query, _ in read.values()]
