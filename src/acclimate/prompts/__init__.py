"""Prompts: few-shot templates as TOML files, one for each name, the built-in ones beside this file.

    name = "inpars"
    description = "what it is for, in a line"
    instruction = "text before the examples; may be left out"
    example = "Document: {document}\\nQuery: {query}\\n\\n"     # once for each of the examples
    target = "Document: {document}\\nQuery:"                   # once, last; its end is the cue to write
    stop = ["\\n"]                                             # texts that end an answer; this is the default
    [[examples]]
    document = "..."
    query = "..."

`{document}`, `{query}` and `{number}` (of the example, from 1) are replaced in one pass over the template, so braces
anywhere else, and in documents, are text. Everything but the target is the same for all documents and comes first:
an LLM reads it once.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.errors import DataError, unknown
from acclimate.files import fingerprint

_HERE = Path(__file__).parent
_KEYS = {"name", "description", "instruction", "example", "target", "stop", "examples"}


@dataclass(frozen=True)
class Prompt:
    """A template with its examples filled in."""

    name: str
    description: str
    prefix: str  # instruction and examples: the same for every document
    target: str  # holds {document}; {number} is already replaced
    stop: tuple[str, ...]

    def render(self, document: str) -> str:
        """The whole prompt for a document, whose text goes through unchanged."""
        return self.prefix + _fill(self.target, {"document": document})

    @property
    def fingerprint(self) -> str:
        """Of everything that reaches the LLM; name and description do not."""
        return fingerprint(self.prefix, self.target, self.stop)


def names() -> list[str]:
    """The built-in prompts."""
    return sorted(path.stem for path in _HERE.glob("*.toml"))


def load(name_or_path: str | Path) -> Prompt:
    """A built-in prompt by name, or any TOML file by path.

    Raises SettingError for an unknown name, DataError for a file that is not a prompt.
    """
    if str(name_or_path) in names():
        return _parse(_HERE / f"{name_or_path}.toml")
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.is_file():
        return _parse(path)
    raise unknown("prompt (or file)", str(name_or_path), names())


def _parse(path: Path) -> Prompt:
    try:
        row = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such prompt file", path=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not TOML: {error}", path=path) from None
    if foreign := sorted(row.keys() - _KEYS):
        raise DataError(f"unknown keys {foreign}; a prompt has {sorted(_KEYS)}", path=path)
    target, example = _text(row, "target", path), _text(row, "example", path, default="")
    examples: list[dict[str, Any]] = row.get("examples", [])
    if "{document}" not in target:
        raise DataError("target has no {document}", path=path)
    if target != target.rstrip(" \t"):
        raise DataError("target ends with a blank, which LLMs read as half a word; end it with the cue", path=path)
    if examples and not ("{document}" in example and "{query}" in example):
        raise DataError("there are examples, so `example` needs {document} and {query}", path=path)
    filled = [
        _fill(
            example,
            {
                "number": str(number),
                "document": _text(shot, "document", path),
                "query": _text(shot, "query", path),
            },
        )
        for number, shot in enumerate(examples, 1)
    ]
    stop = row.get("stop", ["\n"])
    if not isinstance(stop, list) or not all(isinstance(text, str) and text for text in stop):
        raise DataError(f"stop is {stop!r}; expected a list of texts", path=path)
    return Prompt(
        name=_text(row, "name", path, default=path.stem),
        description=_text(row, "description", path, default=""),
        prefix=_text(row, "instruction", path, default="") + "".join(filled),
        target=_fill(target, {"number": str(len(examples) + 1)}),
        stop=tuple(stop),
    )


def _text(row: dict[str, Any], key: str, path: Path, *, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str):
        raise DataError(f"{key} is {value!r}; expected a text", path=path)
    return value


def _fill(template: str, values: dict[str, str]) -> str:
    return re.sub("|".join(f"{{{key}}}" for key in values), lambda match: values[match[0][1:-1]], template)
