"""docs/files.md is the contract of a run's folder: whole runs have every file and field that it names, and no other.

Tests of other runs ask `undocumented` of theirs.
"""

from __future__ import annotations

import re

import pytest
from files_page import (
    FIELDS,
    FILES,
    MOMENTS,
    Field,
    agrees,
    content,
    files_of,
    has_our_fields,
    matches,
    undocumented,
    values,
)

pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module")
def names(finished, labelled):
    """Every file of these runs, by its name in the folder."""
    return files_of(finished) | files_of(labelled)


def test_every_file_and_field_of_a_run_is_on_the_page(finished, labelled):
    assert undocumented(finished) == undocumented(labelled) == set()


def test_every_file_on_the_page_is_in_a_run_or_says_when(names):
    plain = [file for file in FILES if not file.only_with]
    assert [file.pattern for file in plain if not any(matches(file.pattern, name) for name in names)] == []


def test_every_field_on_the_page_is_in_a_run_or_says_when(names):
    seen: dict[str, set[tuple[tuple[str, ...], bool]]] = {  # places, and whether an empty list or object is there
        name: {(at, value in ([], {})) for row in content(path) for at, value in values(row)}
        for name, path in names.items()
        if has_our_fields(name)
    }
    missing = []
    for field in FIELDS:
        if field.only_with:
            continue
        files = [name for name in seen if any(matches(pattern, name) for pattern in field.files)]
        parent = Field((), field.path[:-1], (), "")  # an empty list or object has no element to show
        places = [place for name in files for place in seen[name]]
        if not any(agrees(field, at) or (is_empty and agrees(parent, at)) for at, is_empty in places):
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
