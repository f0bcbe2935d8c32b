"""Queries passed by a program, as pairs of id and text."""

from __future__ import annotations

from typing import Any

from acclimate.base.errors import SettingError
from acclimate.base.text import quoted
from acclimate.records import Query


def as_query(pair: Any) -> Query:
    """Raises SettingError for anything but a pair of id and text."""
    try:
        query = None if isinstance(pair, str) else Query(*pair)
    except TypeError:
        query = None
    if query is None or not isinstance(query.text, str):
        raise SettingError(f"{quoted(pair)} is not a query; expected pairs of an id and a text, or a dict of them")
    return query
