"""docs/files.md is the contract of a run's folder: whole runs have every file and field that it names, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("torch", reason="torch is not installed")

PAGE = (Path(__file__).parents[1] / "docs" / "files.md").read_text(encoding="utf-8")
MOMENTS = {"a command at work", "a killed run", "an answer that is no query", "a query whose nDCG@10 changed"}
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
    """The cells of every table whose first column is called so."""
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
    """`*` stands for a part of a name, `**` for whatever comes."""
    expression = re.escape(pattern).replace(r"\*\*", ".+").replace(r"\*", "[^/]+")
    return re.fullmatch(expression, name) is not None


def agrees(field: Field, path: tuple[str, ...]) -> bool:
    return len(path) == len(field.path) and all(
        ours in ("*", theirs) for ours, theirs in zip(field.path, path, strict=True)
    )


def values(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value in JSON with the path that leads to it, objects and lists included."""
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


@pytest.fixture(scope="module")
def runs(finished, labelled) -> list[Path]:
    return [finished, labelled]


@pytest.fixture(scope="module")
def names(runs) -> dict[str, Path]:
    """Every file of these runs, by its name in the folder."""
    return {path.relative_to(run).as_posix(): path for run in runs for path in run.rglob("*") if path.is_file()}


def has_our_fields(name: str) -> bool:
    """True for JSON whose fields are acclimate's own, not those of a library's model or index."""
    is_model = re.match(r"(train/reranker|distill/)[^.]*/|index/bm25/.*index", name)
    return name.endswith((".json", ".jsonl")) and not is_model and name != "index/bm25/language.json"


def test_every_file_of_a_run_is_on_the_page(names):
    assert [name for name in names if not any(matches(file.pattern, name) for file in FILES)] == []


def test_every_file_on_the_page_is_in_a_run_or_says_when(names):
    plain = [file for file in FILES if not file.only_with]
    assert [file.pattern for file in plain if not any(matches(file.pattern, name) for name in names)] == []


def test_every_field_of_a_run_is_on_the_page_with_its_type(names):
    unknown, of_other_types = set(), set()
    for name, path in names.items():
        if not has_our_fields(name):
            continue
        fields = [field for field in FIELDS if any(matches(pattern, name) for pattern in field.files)]
        opaque = [field.path for field in fields if "any" in field.types]
        for row in content(path):
            for at, value in values(row):
                if isinstance(value, dict | list):
                    continue
                if any(agrees(Field((), whole, (), ""), at[: len(whole)]) for whole in opaque):
                    continue
                known = [field for field in fields if agrees(field, at)]
                if not known:
                    unknown.add((name, ".".join(at)))
                elif not any(
                    TYPES[type(value)] in field.types or (type(value) is int and "number" in field.types)
                    for field in known
                ):
                    of_other_types.add((name, ".".join(at), TYPES[type(value)]))
    assert (unknown, of_other_types) == (set(), set())


def test_every_field_on_the_page_is_in_a_run_or_says_when(names):
    seen: dict[str, list[tuple[tuple[str, ...], Any]]] = {
        name: [pair for row in content(path) for pair in values(row)]
        for name, path in names.items()
        if has_our_fields(name)
    }
    missing = []
    for field in FIELDS:
        if field.only_with:
            continue
        pairs = [pair for name in seen for pair in seen[name] if any(matches(pattern, name) for pattern in field.files)]
        parent = Field((), field.path[:-1], (), "")  # an empty list or object has no element to show
        if not any(agrees(field, at) or (value in ([], {}) and agrees(parent, at)) for at, value in pairs):
            missing.append((field.files, ".".join(field.path)))
    assert missing == []


def test_a_field_or_file_that_is_not_always_there_names_what_it_takes():
    from acclimate.run.settings import settings_of
    from acclimate.stages.chain import STAGES

    settings = {f"{stage}.{name}" for stage, function in STAGES.items() for name in settings_of(function)}
    said = {row.only_with for row in (*FILES, *FIELDS)} - {""}
    for words in said - MOMENTS:
        (name,) = re.findall("`([^`=]+)", words)
        assert name in settings or name.startswith(("acclimate ", "--")), words
