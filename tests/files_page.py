"""docs/files.md as data: the files and fields it documents, and those of a run that are missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PAGE = (Path(__file__).parents[1] / "docs" / "files.md").read_text(encoding="utf-8")
MOMENTS = {
    "a command at work",
    "a killed run",
    "an answer that is no query",
    "an answer that is no grade",
    "a query whose nDCG@10 changed",
}
TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class File(NamedTuple):
    """A row of a table of files."""

    pattern: str
    only_with: str


class Field(NamedTuple):
    """A row of a table of fields."""

    files: tuple[str, ...]
    path: tuple[str, ...]  # `a.b[].*` as a, b, [], *
    types: tuple[str, ...]
    only_with: str


def rows(text: str, head: str) -> Iterator[list[str]]:
    """The rows of every table whose first column is headed `head`."""
    for table in re.findall(r"(?:^\|.*\|$\n)+", text, re.M):
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
        if lines[0][0] == head:
            yield from lines[2:]


def documented_files() -> list[File]:
    return [File(name, row[-1]) for row in rows(PAGE, "file") for name in re.findall("`([^`]+)`", row[0])]


def documented_fields() -> list[Field]:
    fields: list[Field] = []
    for section in re.split(r"^### ", PAGE, flags=re.M)[1:]:
        names = tuple(re.findall("`([^`]+)`", section.partition("\n")[0]))
        for row in rows(section, "field"):
            written = re.sub(r"\[\]", ".[]", row[0].strip("`"))
            is_list = row[1].startswith("list of ")
            path = (*written.split("."), *(["[]"] if is_list else []))
            fields.append(Field(names, path, tuple(row[1].removeprefix("list of ").split(" or ")), row[3]))
    return fields


FILES, FIELDS = documented_files(), documented_fields()


def matches(pattern: str, name: str) -> bool:
    """Match a name; `*` matches within a part, `**` anything."""
    expression = re.escape(pattern).replace(r"\*\*", ".+").replace(r"\*", "[^/]+")
    return re.fullmatch(expression, name) is not None


def agrees(field: Field, path: tuple[str, ...]) -> bool:
    return len(path) == len(field.path) and all(
        ours in ("*", theirs) for ours, theirs in zip(field.path, path, strict=True)
    )


def values(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value in JSON with its path, including objects and lists."""
    yield path, value
    inside = (
        value.items() if isinstance(value, dict) else [("[]", one) for one in value] if isinstance(value, list) else []
    )
    for key, item in inside:
        yield from values(item, (*path, key))


def content(path: Path) -> list[Any]:
    lines = (
        path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text(encoding="utf-8")]
    )
    return [json.loads(line) for line in lines]


def has_our_fields(name: str) -> bool:
    """True for JSON whose fields are acclimate's own, not those of a library's model or index."""
    is_model = re.match(r"(train/reranker|distill/)[^.]*/|index/bm25/.*index|updated/[^/]*/", name)
    return name.endswith((".json", ".jsonl")) and not is_model and name != "index/bm25/language.json"


def files_of(run: Path) -> dict[str, Path]:
    """Every file of a run, by its path in the folder."""
    return {path.relative_to(run).as_posix(): path for path in run.rglob("*") if path.is_file()}


def undocumented(run: Path) -> set[str]:
    """Undocumented files, and fields that are undocumented or have another type."""
    strange: set[str] = set()
    for name, path in files_of(run).items():
        if not any(matches(file.pattern, name) for file in FILES):
            strange.add(name)
        if not has_our_fields(name):
            continue
        fields = [field for field in FIELDS if any(matches(pattern, name) for pattern in field.files)]
        kinds = {
            (place, type(value))
            for row in content(path)
            for place, value in values(row)
            if not isinstance(value, dict | list)
        }
        for place, kind in kinds:
            whole = (field for field in fields if "any" in field.types)
            if any(agrees(field, place[: len(field.path)]) for field in whole):
                continue
            types = {spelling for field in fields if agrees(field, place) for spelling in field.types}
            if TYPES[kind] not in types and not (kind is int and "number" in types):
                strange.add(f"{name}: {'.'.join(place)} is {TYPES[kind]}")
    return strange
