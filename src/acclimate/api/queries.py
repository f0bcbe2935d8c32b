"""Queries passed by a program: a text, or texts with ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from numbers import Integral
from typing import Any

from acclimate.base.errors import SettingError
from acclimate.base.text import quoted
from acclimate.deploy.searchers import Hit
from acclimate.records import Query

_EXPECTED = "expected pairs of an id and a text, or a dict of them"


def checked_text(text: Any, name: str = "QUERY") -> str:
    """The text itself. Raises SettingError for anything but text to search for, naming it `name`."""
    if not isinstance(text, str):
        raise SettingError(f"{name} is {quoted(text)}; expected text to search for")
    if not text.strip():
        raise SettingError(f"{name} is empty; expected text to search for")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):  # no model reads it
        raise SettingError(f"{name} has half a surrogate pair (\\ud800-\\udfff), which is not a character; remove it")
    return text


def as_hits(hits: Any) -> list[Hit]:
    """The hits of a search. Raises SettingError for anything else."""
    listed = list(hits) if isinstance(hits, Iterable) else [hits]
    if all(isinstance(hit, Hit) for hit in listed):
        return listed
    raise SettingError(f"hits is {quoted(hits)}; expected what a search returned")


def as_queries(queries: Any) -> list[Query]:
    """Queries from id -> text, or from pairs; an id that is a whole number becomes its decimal text, as in files.

    Raises SettingError for anything else, and for an id that repeats.
    """
    pairs = queries.items() if isinstance(queries, Mapping) else queries
    if not isinstance(pairs, Iterable):
        raise SettingError(f"queries is {quoted(queries)}; {_EXPECTED}")
    by_id = dict[str, Query]()
    for number, pair in enumerate(pairs, 1):
        query = _as_query(pair)
        if query.query_id in by_id:
            raise SettingError(f"query {quoted(query.query_id)} appears twice, the second time as query {number}")
        by_id[query.query_id] = query
    return [*by_id.values()]


def _as_query(pair: Any) -> Query:
    try:
        query = None if isinstance(pair, str | Mapping | Set) else Query(*pair)
    except TypeError:
        query = None
    if query is None or not isinstance(query.text, str):
        raise SettingError(f"{quoted(pair)} is not a query; {_EXPECTED}")
    query_id = query.query_id
    if isinstance(query_id, Integral) and not isinstance(query_id, bool):
        query_id = str(int(query_id))
    if not isinstance(query_id, str) or not query_id:
        raise SettingError(f"the id of query {quoted(query.text)} is {quoted(query_id)}; expected text")
    return Query(query_id, checked_text(query.text, f"query {quoted(query_id)}"))
