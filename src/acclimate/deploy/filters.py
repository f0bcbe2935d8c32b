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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from acclimate.base.text import quoted
from acclimate.deploy.serving.guard import Refused

_CONDITION = re.compile(r"(?P<field>[^=<>^]{1,1000})(?P<sign>>=|<=|\^=|=|>|<)(?P<value>.*)", re.DOTALL)
_SIGNS = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt", "^=": "prefix"}
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def canonical(filters: Mapping[str, Any]) -> str:
    """Filters as canonical text, equal for equal filters; empty where there are none.

    filters: field -> a value, a list of values, or conditions by name: any_of, gt, gte, lt, lte, prefix.
    """
    if not filters:
        return ""
    plain = {name: _condition(value) for name, value in filters.items()}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False)


def _condition(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"any_of": value}
    if isinstance(value, str | int | float):
        return {"any_of": [value]}
    return value if isinstance(value, dict) else value.model_dump(exclude_none=True)


def from_texts(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Filters from a URL: `field=value`, several for a field meaning any of them, and `>= <= > < ^=`.

    Raises Refused for anything else.
    """
    filters: dict[str, dict[str, Any]] = {}
    for text in texts:
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise Refused(422, f"where is {quoted(text)}; expected field=value, field>=value or field^=beginning")
        field, sign, value = match.groups()
        conditions = filters.setdefault(field, {})
        if sign == "=":
            conditions.setdefault("any_of", []).append(value)
        else:
            conditions[_SIGNS[sign]] = value
    return filters


def fields_named(filters: str) -> list[str]:
    """The fields that canonical filters name."""
    return sorted(json.loads(filters)) if filters else []


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
