"""Strict parsing of JSON from elsewhere."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from acclimate.base.text import quoted


def json_value(text: str) -> Any:
    """Parse JSON. Raises ValueError for invalid JSON and for objects with a repeated key, which is ambiguous."""
    return _DECODER.decode(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        repeated = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {quoted(repeated)} appears twice; remove one")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
