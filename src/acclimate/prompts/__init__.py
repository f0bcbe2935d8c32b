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

`examples = "keyword"` in place of the tables takes the queries of that type from `examples.toml` beside this file.
`{document}`, `{query}`, `{number}` (of the example, from 1) and `{bad_query}`, where the examples have one, are
replaced in one pass over the template, so braces anywhere else, and in documents, are text. Everything but the target
is the same for all documents and comes first: an LLM reads it once.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.errors import DataError, SettingError, unknown
from acclimate.files import fingerprint

_HERE = Path(__file__).parent
_SHARED = _HERE / "examples.toml"
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


@dataclass(frozen=True)
class Mix:
    """Prompts that share documents out among themselves."""

    prompts: tuple[Prompt, ...]
    shares: tuple[float, ...]  # above 0

    @property
    def names(self) -> list[str]:
        return [prompt.name for prompt in self.prompts]

    @property
    def stop(self) -> tuple[str, ...]:
        """The texts that end an answer, the same for all."""
        return self.prompts[0].stop

    @property
    def fingerprint(self) -> str:
        return fingerprint([(p.name, p.fingerprint, s) for p, s in zip(self.prompts, self.shares, strict=True)])

    def share_out(self, doc_id: str, n: int = 1) -> list[Prompt]:
        """The prompts, at most `n` and each once, that this document is shown to.

        They follow from the document's id alone, so that a document more or less changes no other's queries.
        """
        digest = hashlib.sha256(f"prompt:{doc_id}".encode("utf-8", "surrogatepass")).digest()
        at = int.from_bytes(digest[:8], "big") / 2**64
        chosen = [self._at((at + number / n) % 1) for number in range(n)]
        return list(dict.fromkeys(chosen))

    def _at(self, point: float) -> Prompt:
        """The prompt whose part of [0, 1) `point` falls in."""
        below = 0.0
        for prompt, share in zip(self.prompts, self.shares, strict=True):
            below += share / sum(self.shares)
            if point < below:
                return prompt
        return self.prompts[-1]


def load_mix(wanted: Sequence[str]) -> Mix:
    """Prompts by name or path, each with `:SHARE` behind it where the shares are not equal.

    Raises SettingError for an unknown name, a share that is not above 0, two prompts of one name, and prompts whose
    answers end differently; DataError for a file that is not a prompt.
    """
    loaded: list[Prompt] = []
    shares: list[float] = []
    for entry in wanted:
        name, colon, number = entry.rpartition(":")
        weighted = colon and re.fullmatch(r"-?\d+(\.\d+)?", number)
        loaded.append(load(name if weighted else entry))
        shares.append(float(number) if weighted else 1.0)
        if shares[-1] <= 0:
            raise SettingError(
                f"generate.prompt: {entry!r} has no share; expected NAME or NAME:SHARE with a share above 0"
            )
    if not loaded or len({prompt.name for prompt in loaded}) < len(loaded):
        raise SettingError(f"generate.prompt is {','.join(wanted)!r}; expected one or more prompts, each once")
    if len({prompt.stop for prompt in loaded}) > 1:
        raise SettingError(f"generate.prompt: {', '.join(wanted)} end their answers differently; mix those that agree")
    return Mix(tuple(loaded), tuple(shares))


def names() -> list[str]:
    """The built-in prompts."""
    return sorted(path.stem for path in _HERE.glob("*.toml") if path.name != _SHARED.name)


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
    if isinstance(examples, str):
        examples = _shared(examples, path)
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
                **({"bad_query": _text(shot, "bad_query", path)} if "{bad_query}" in example else {}),
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


def _shared(kind: str, path: Path) -> list[dict[str, Any]]:
    """The examples of one query type."""
    documents = tomllib.loads(_SHARED.read_text(encoding="utf-8"))["documents"]
    if kind not in documents[0] or kind == "text":
        raise DataError(
            f"examples is {kind!r}; expected tables, or one of {sorted(documents[0].keys() - {'text'})}", path=path
        )
    return [{"document": document["text"], "query": document[kind]} for document in documents]


def _text(row: dict[str, Any], key: str, path: Path, *, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str):
        raise DataError(f"{key} is {value!r}; expected a text", path=path)
    return value


def _fill(template: str, values: dict[str, str]) -> str:
    return re.sub("|".join(f"{{{key}}}" for key in values), lambda match: values[match[0][1:-1]], template)
