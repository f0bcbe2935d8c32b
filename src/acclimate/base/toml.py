"""Writing values as TOML; `files.read_toml` reads them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def as_toml(value: Any) -> str:
    """Format a string, number, boolean, None (as "none": TOML has no null) or a list of these on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return '"none"'
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Sequence):
        return f"[{', '.join(map(as_toml, value))}]"
    return repr(value)


def _text(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return '"' + "".join(c if c.isprintable() or ord(c) > 0x9F else f"\\u{ord(c):04x}" for c in escaped) + '"'
