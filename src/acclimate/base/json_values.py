"""Strict parsing of JSON from elsewhere, and the errors for what cannot be parsed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError
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


def json_error(error: Exception, path: Path, line: int | None = None) -> DataError:
    """The error for a file, or a line of it, that the parser refused."""
    if isinstance(error, json.JSONDecodeError):
        is_begun = line == 1 and error.doc.strip() == "{"
        advice = f"; an object must be on one line: jq -c . {path.name}" if is_begun else ""
        what = f"{error.msg.removesuffix(' at')} at column {error.colno}"  # a message of the parser ends in " at"
        what += f" of {quoted(error.doc)}" if error.pos == 0 else ""  # it is something else altogether
        return DataError(f"not JSON: {what}{advice}", path=path, line=line or error.lineno)
    return DataError(f"not JSON that can be parsed: {cause(error)}", path=path, line=line)


def cause(error: Exception) -> str:
    """Why a parser gave up on what is well-formed: brackets 5,000 deep, an integer of 5,000 digits."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "a number of thousands of digits" if "integer string conversion" in str(error) else str(error)
