"""Other fields of documents, stored beside id, text and title so that searches can filter by them.

No model reads them, and they are in no fingerprint. Stored are strings, numbers, booleans, dates as strings, and lists
of these. Objects are flattened, with dots between the names; names in BEIR's `metadata` stand alone. Long texts and
anything else are dropped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from itertools import islice
from typing import Any

_BROKEN = re.compile("[\0\ud800-\udfff]")
_METADATA = "metadata"  # BEIR's mapping; its keys become field names
_LONGEST = 1000  # characters of a text
_MOST = 100  # fields of a document, and values of a field
_DEEPEST = 4
_LOOKED_AT = 10_000  # fields of a document examined: one line of YAML can expand to billions


def kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a document that can be stored, sorted by name."""
    return dict(sorted(dict(islice(_flat(values, "", 0), _LOOKED_AT)).items())[:_MOST]) if values else {}


def as_text(fields: Mapping[str, Any]) -> str:
    """Stored fields as JSON; "" if there are none."""
    return json.dumps(fields) if fields else ""


def of_text(text: str) -> dict[str, Any]:
    """Stored fields from `as_text`."""
    return json.loads(text) if text else {}


def _flat(values: Mapping[str, Any], before: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if not isinstance(name, str) or not name or len(name) > _LONGEST or _BROKEN.search(name):
            continue
        if isinstance(value, Mapping):
            if depth < _DEEPEST:
                yield from _flat(value, before if name == _METADATA and not before else f"{before}{name}.", depth + 1)
        elif isinstance(value, list | tuple):
            if plain := [each for each in map(_plain, value[:_MOST]) if each is not None]:
                yield before + name, plain
        elif (plain := _plain(value)) is not None:
            yield before + name, plain


def _plain(value: Any) -> str | int | float | bool | None:
    """The value in a form that JSON can hold; None if it is not stored."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, str):
        return value if value and len(value) <= _LONGEST and not _BROKEN.search(value) else None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else None
    return value if isinstance(value, float) and math.isfinite(value) else None
