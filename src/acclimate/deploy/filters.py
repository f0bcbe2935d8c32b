"""Filters on the fields of documents.

Values that both parse as numbers are compared as numbers, all others as text by code point, so dates such as 2026-11-27
sort correctly. Two texts are equal only when they are identical. A document without the field does not pass; of a field
with several values, one must match.
"""

from __future__ import annotations

import json
import math
import operator
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.base.errors import SettingError, unknown
from acclimate.base.text import quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.run.input import Input

_ALWAYS = ("doc_id", "title")  # fields of every document
_CACHED = 32  # filters whose rows are kept
_LISTED = 50  # fields that a message lists
_EXPECTED = "a text, finite number, date or bool, or of any_of a list of them; of prefix a text"
_CONDITION = re.compile(r"(?P<field>[^=<>^]{1,1000})(?P<sign>>=|<=|\^=|=|>|<)(?P<value>.*)", re.DOTALL)
_SIGNS = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt", "^=": "prefix"}
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_CONDITIONS = ("any_of", *_ORDERS, "prefix")


def canonical(filters: Mapping[str, Any]) -> str:
    """Filters as canonical text, equal for equal filters; empty where there are none.

    filters: field -> a value, a list of values, or conditions by name: any_of, gt, gte, lt, lte, prefix. Raises
    SettingError for anything else.
    """
    if not isinstance(filters, Mapping):
        raise SettingError(f"filters is {quoted(filters)}; expected a dict: {{'year': {{'gte': 2020}}}}")
    plain = {name: _condition(name, value) for name, value in filters.items()}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False) if plain else ""


def _condition(field: str, value: Any) -> dict[str, Any]:
    conditions = value if isinstance(value, Mapping) else {"any_of": value}
    return {name: _operand(field, name, operand) for name, operand in conditions.items()}


def _operand(field: str, name: str, operand: Any) -> Any:
    if name not in _CONDITIONS:
        raise unknown(f"condition on {field}", name, _CONDITIONS)
    is_list = isinstance(operand, list | tuple | set)
    values = [_plain(each) for each in (operand if is_list else [operand])]
    kinds = str if name == "prefix" else str | int | float
    is_finite = all(abs(each) <= sys.float_info.max for each in values if isinstance(each, int | float))
    if not is_finite or not all(isinstance(each, kinds) for each in values) or (is_list and name != "any_of"):
        raise SettingError(f"filters: {field} is {quoted(operand)}; expected {_EXPECTED}")
    return values if name == "any_of" else values[0]


def _plain(value: Any) -> Any:
    """As a value of JSON, where it is one."""
    if isinstance(value, date):
        return value.isoformat()
    return value.item() if isinstance(value, np.bool_ | np.number | np.str_) else value


def from_texts(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Filters from a URL: `field=value`, several for a field meaning any of them, and `>= <= > < ^=`.

    Raises SettingError for anything else.
    """
    filters: dict[str, dict[str, Any]] = {}
    for text in texts:
        match = _CONDITION.fullmatch(text)
        if match is None:
            expected = "expected field=value, field^=beginning or, in quotes, 'field>=value'"
            raise SettingError(f"where is {quoted(text)}; {expected}")
        field, sign, value = match.groups()
        conditions = filters.setdefault(field, {})
        if sign == "=":
            conditions.setdefault("any_of", []).append(value)
        elif conditions.setdefault(_SIGNS[sign], value) != value:
            raise SettingError(f"where has {quoted(field + sign)} twice, with different values; expected one")
    return filters


def passing(filters: str, fields: Iterable[Mapping[str, Any]]) -> list[int]:
    """Positions of the documents that pass canonical filters. fields: the fields of each document."""
    conditions: dict[str, dict[str, Any]] = json.loads(filters)
    return [
        place
        for place, values in enumerate(fields)
        if all(name in values and _passes(values[name], operand) for name, operand in conditions.items())
    ]


def _passes(value: Any, condition: Mapping[str, Any]) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(all(_holds(name, each, operand) for name, operand in condition.items()) for each in values)


def _holds(name: str, value: Any, operand: Any) -> bool:
    if name == "any_of":
        return any(_equal(value, each) for each in operand)
    if name == "prefix":
        return _text(value).startswith(operand)
    return _ORDERS[name](*_comparable(value, operand))


def _equal(value: Any, operand: Any) -> bool:
    return (
        value == operand
        if isinstance(value, str) and isinstance(operand, str)
        else operator.eq(*_comparable(value, operand))
    )


def _comparable(value: Any, operand: Any) -> tuple[Any, Any]:
    """Both as numbers, or both as texts."""
    number, operand_number = _number(value), _number(operand)
    if number is None or operand_number is None:
        return _text(value), _text(operand)
    return number, operand_number


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool):
        return None
    try:
        number = value if isinstance(value, int | float) else float(value)
    except ValueError:
        return None
    return None if isinstance(number, float) and not math.isfinite(number) else number


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Fields:
    """The fields of a run's documents, and which of its documents pass filters on them."""

    def __init__(self, source: Input) -> None:
        self._source = source
        self._rows_by_filters: dict[str, NDArray[np.int64]] = {}

    @cached_property
    def names(self) -> list[str]:
        """Fields that filters may name."""
        names = self._source.documents.field_names or []
        return [*_ALWAYS, *(name for name in names if name not in _ALWAYS)]

    def of(self, doc_id: str) -> dict[str, Any]:
        """A document's fields besides title and text."""
        documents = self._source.documents
        return documents.fields_of(doc_id) if documents.field_names else {}

    def check(self, filters: str) -> None:
        """Raises SettingError for canonical filters on a field that no document has."""
        for name in json.loads(filters) if filters else ():
            if name not in self.names:
                raise unknown("field", name, self.names[:_LISTED])

    def rows(self, filters: str) -> NDArray[np.int64]:
        """The rows of the index, ascending, whose documents pass canonical filters; cached."""
        if filters not in self._rows_by_filters:
            self.check(filters)
            while len(self._rows_by_filters) >= _CACHED:
                self._rows_by_filters.pop(next(iter(self._rows_by_filters)))
            corpus, parents, documents = self._source.corpus, self._source.parents, self._source.documents
            matching = {documents.ids[place] for place in passing(filters, self._values(json.loads(filters)))}
            self._rows_by_filters[filters] = np.array(
                [row for row, doc_id in enumerate(corpus.ids) if parents.get(doc_id, doc_id) in matching], np.int64
            )
        return self._rows_by_filters[filters]

    def _values(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The values of at least these fields for each document; other fields are not read."""
        documents = self._source.documents
        titles = (doc.title for doc in documents.values()) if "title" in names else repeat("")
        others = documents.fields() if {*names}.difference(_ALWAYS) else repeat(dict[str, Any]())
        for doc_id, title, fields in zip(documents.ids, titles, others, strict=False):
            yield {**fields, "doc_id": doc_id, "title": title}
