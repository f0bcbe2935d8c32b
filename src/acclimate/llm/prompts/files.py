"""Read prompt files: our TOML, and the templates of the InPars toolkit (YAML, plain text).

TOML (`docs/queries.md` explains the keys with examples):

    name = "mine"
    description = "what it is for, in a line"
    instruction = "text before the examples; optional"
    example = "Document: {document}\\nQuery: {query}\\n\\n"     # once for each of the examples
    target = "Document: {document}\\nQuery:"                   # once, last; its end is the cue
    stop = ["\\n"]                                             # texts that end an answer; this is the default
    chat = false                                               # true: an instruction for a chat model
    [[examples]]
    document = "..."
    query = "..."

Instead of the tables, `examples = "keyword"` takes queries of that type from `examples.toml` beside this file, and
`examples = "yours"` the pairs of `sample.examples`. `{document}`, `{query}`, `{number}` (of the example, from 1),
`{bad_query}` and the two labels are replaced in one pass: other braces, and those in documents, are plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError, SettingError
from acclimate.base.files import read_text, read_toml, write_text
from acclimate.base.text import quoted
from acclimate.base.toml import as_toml
from acclimate.records import PromptExample

HERE = Path(__file__).parent
POOL = HERE / "examples.toml"
_KEYS = {"name", "description", "instruction", "example", "target", "stop", "chat", "examples", "labels"}
_OF_AN_EXAMPLE = {"document", "query", "bad_query"}  # the last one only if `example` shows it
_YOURS = "yours"


@dataclass(frozen=True)
class Template:
    """A prompt without its examples filled in."""

    name: str
    description: str
    instruction: str
    example: str
    target: str  # contains {document}
    stop: tuple[str, ...] = ("\n",)
    chat: bool = False
    examples: tuple[dict[str, str], ...] | None = ()  # None: it needs task examples
    # Collection -> label before a document, before a query.
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)

    def labelled(self, collection: str) -> Template:
        """With the labels of a collection (path, or id such as irds:beir/scifact/test), else the default ones."""
        if not self.labels:
            return self
        parts = [part for part in re.split(r"[/\\:]", collection) if part in self.labels]
        labels = self.labels[parts[-1] if parts else "default"]
        document, query = (f"{label} " if label else "" for label in labels)
        values = {"document_label": document, "query_label": query}
        return replace(
            self,
            example=fill(self.example, values),
            target=fill(self.target, values).rstrip(" "),
            labels={},
        )


def read(path: Path, name: str = "") -> Template:
    """The template in a .toml, .yaml, .yml or plain text file; `name` selects one of several in a YAML file.

    Raises DataError for an invalid file, SettingError for an unknown name.
    """
    suffix = path.suffix.lower()
    if suffix in (".json", ".jsonl"):
        raise DataError(
            "JSON holds no prompt; expected TOML, InPars' YAML, or the text itself in a .txt file", path=path
        )
    if suffix == ".toml":
        return _from_toml(read_toml(path), path)
    text = read_text(path).replace("\r\n", "\n")
    if suffix in (".yaml", ".yml"):
        return _from_yaml(text, name, path)
    return _static(text, path.stem, path)


def _from_toml(row: dict[str, Any], path: Path) -> Template:
    if foreign := sorted(row.keys() - _KEYS):
        raise DataError(f"unknown keys {quoted(foreign)}; a prompt has {sorted(_KEYS)}", path=path)
    template = Template(
        name=_text(row, "name", path, default=path.stem),
        description=_text(row, "description", path, default=""),
        instruction=_text(row, "instruction", path, default=""),
        example=_text(row, "example", path, default=""),
        target=_text(row, "target", path),
        stop=_stop(row.get("stop", ["\n"]), path),
        chat=_flag(row.get("chat", False), path),
        examples=_examples(row.get("examples", []), path),
        labels=_labels(row.get("labels", {}), path),
    )
    if "{document}" not in template.target:
        raise DataError("target has no {document}", path=path)
    if template.target != template.target.rstrip(" \t"):
        raise DataError("target ends with a blank, which LLMs read as half a word; end it with the cue", path=path)
    if template.examples != () and not ("{document}" in template.example and "{query}" in template.example):
        raise DataError("there are examples, so `example` needs {document} and {query}", path=path)
    if "{bad_query}" in template.example and template.examples is None:
        raise DataError("examples is 'yours', which have no {bad_query}; take it out of `example`", path=path)
    if "{bad_query}" in template.example:
        for shot in template.examples or ():
            _text(shot, "bad_query", path)
    return template


def _from_yaml(text: str, name: str, path: Path) -> Template:
    """An InPars template: a name with mode and template.

    A dynamic one is repeated for each example, and for the target without its query and trailing blanks.
    """
    import yaml

    try:
        entries = yaml.load(text, Loader=yaml.BaseLoader)  # every value is a text or made of texts
    except yaml.YAMLError as error:
        raise DataError(f"not YAML: {error}", path=path) from None
    except RecursionError:
        raise DataError("not readable YAML: nested too deeply", path=path) from None
    if not isinstance(entries, dict) or not entries:
        raise DataError("expected InPars templates: a name, and below it mode and template", path=path)
    if not name and len(entries) > 1:
        raise SettingError(f"{path} holds {quoted(list(entries))}; name one: {path}#{next(iter(entries))}")
    name = name or next(iter(entries))
    entry = entries.get(name)
    if name not in entries:
        raise SettingError(f"{path} has no template {quoted(name)}; it holds {quoted(list(entries))}")
    if not isinstance(entry, dict) or entry.get("mode") not in ("static", "dynamic"):
        raise DataError(f"{name}: expected mode (static or dynamic) and template", path=path)
    template = _text(entry, "template", path)
    if entry["mode"] == "static":
        return _static(template, name, path)
    if not ("{document}" in template and "{query}" in template):
        raise DataError(f"{name}: a dynamic template needs {{document}} and {{query}}", path=path)
    target = template.replace("{query}", "").rstrip()
    return Template(name, f"from {path.name}", "", template, target, examples=None)


def _static(text: str, name: str, path: Path) -> Template:
    """The text around the document, filled as in the toolkit.

    InPars v1's scripts, with the placeholder {document_text}, keep trailing blanks of a prompt.
    """
    is_v1 = "{document}" not in text
    text = text.replace("{document_text}", "{document}").replace("{query}", "")
    before, placeholder, after = text.partition("{document}")
    if not placeholder:
        raise DataError("no {document} in this template", path=path)
    return Template(name, f"from {path.name}", before, "", placeholder + (after if is_v1 else after.rstrip()))


def _examples(value: Any, path: Path) -> tuple[dict[str, str], ...] | None:
    if value == _YOURS:
        return None
    if isinstance(value, str):
        return _of_type(value, path)
    if not isinstance(value, list):
        raise DataError("examples: expected [[examples]] tables, a query type, or 'yours'", path=path)
    for row in value:
        if not isinstance(row, dict) or not row.keys() >= {"document", "query"} or row.keys() - _OF_AN_EXAMPLE:
            expected = ", ".join(sorted(_OF_AN_EXAMPLE))
            raise DataError(f"an example is {quoted(row)}; expected a table with {expected}", path=path)
        for key in row:
            _text(row, key, path)
    return tuple(value)


def _of_type(kind: str, path: Path) -> tuple[dict[str, str], ...]:
    """The examples of one query type."""
    documents = read_toml(POOL)["documents"]
    if kind not in documents[0] or kind == "text":
        types = sorted(documents[0].keys() - {"text"})
        raise DataError(f"examples is {quoted(kind)}; expected tables, {_YOURS!r}, or one of {types}", path=path)
    return tuple({"document": document["text"], "query": document[kind]} for document in documents)


def _labels(value: Any, path: Path) -> dict[str, tuple[str, str]]:
    if not isinstance(value, dict) or (value and "default" not in value):
        raise DataError("labels: expected a table with `default` and other collections", path=path)
    for name, pair in value.items():
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(label, str) for label in pair):
            raise DataError(f"labels: {name} is {quoted(pair)}; expected a document's label and a query's", path=path)
    return {name: (pair[0], pair[1]) for name, pair in value.items()}


def _stop(value: Any, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise DataError(f"stop is {quoted(value)}; expected a list of texts", path=path)
    return tuple(value)


def _flag(value: Any, path: Path) -> bool:
    if not isinstance(value, bool):
        raise DataError(f"chat is {quoted(value)}; expected true or false", path=path)
    return value


def _text(row: Mapping[str, Any], key: str, path: Path, *, default: str | None = None) -> str:
    value = row.get(key, default)
    if value is None:
        raise DataError(f"no {key}; expected one, a text", path=path)
    if not isinstance(value, str):
        raise DataError(f"{key} is {quoted(value)}; expected a text", path=path)
    return value


def fill(template: str, values: Mapping[str, str]) -> str:
    """`template` with each {key} replaced by its value, in one pass, so that values are not expanded."""
    return re.sub("|".join(re.escape(f"{{{key}}}") for key in values), lambda match: values[match[0][1:-1]], template)


def shots_of(template: Template, examples: Sequence[PromptExample]) -> tuple[Mapping[str, str], ...]:
    """The examples of a template: its own or the task's."""
    if template.examples is None:
        return tuple({"document": example.document, "query": example.query} for example in examples)
    return template.examples


def filled(example: str, shots: Iterable[Mapping[str, str]]) -> str:
    """Examples as text in the format `example`, numbered from 1."""
    return "".join(fill(example, {**shot, "number": str(number)}) for number, shot in enumerate(shots, 1))


def write_toml(path: Path, template: Template) -> None:
    """Write a template as a file that `read` can read."""
    keys = ("name", "description", "instruction", "example", "target", "stop", "chat")
    lines = [f"{key} = {as_toml(getattr(template, key))}" for key in keys]
    for row in template.examples or ():
        lines += ["", "[[examples]]", *(f"{key} = {as_toml(value)}" for key, value in row.items())]
    write_text(path, "\n".join(lines) + "\n")
