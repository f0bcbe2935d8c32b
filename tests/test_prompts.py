"""Prompt files, and what becomes of a document in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate import prompts
from acclimate.errors import DataError, SettingError

GOOD = """
name = "mine"
description = "for a test"
instruction = "Write {json: true}.\\n"
example = "Doc {number}: {document}\\nQ: {query}\\n"
target = "Doc {number}: {document}\\nQ:"
[[examples]]
document = "a {query} b"
query = "{document}?"
"""


@pytest.mark.parametrize("name", prompts.names())
@given(document=st.text())
def test_a_document_goes_through_unchanged_and_the_cue_comes_last(name, document):
    prompt = prompts.load(name)
    cue = prompt.target.rpartition("{document}")[2]
    rendered = prompt.render(document)
    assert rendered.startswith(prompt.prefix)
    assert rendered.endswith(document + cue)
    assert rendered == rendered.rstrip(" \t")
    assert rendered.count(document) >= 1


@pytest.mark.parametrize("name", prompts.names())
def test_built_in_prompts_are_named_described_and_filled(name):
    prompt = prompts.load(name)
    assert prompt.name == name
    assert prompt.description
    assert not re.search(r"\{(document|query|number)\}", prompt.render("some text"))
    assert len(prompt.prefix) < 330 * 5  # about 330 tokens: every document pays for attending to it


def test_the_default_has_the_structure_of_inpars():
    shape = re.findall(r"^(Example \d:|Document:|Relevant Query:)", prompts.load("inpars").render("text"), re.MULTILINE)
    assert shape == [label for n in range(1, 5) for label in (f"Example {n}:", "Document:", "Relevant Query:")]


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(GOOD)
    prompt = prompts.load(str(path))
    assert prompt.render("{number} {document} {}") == (
        "Write {json: true}.\nDoc 1: a {query} b\nQ: {document}?\nDoc 2: {number} {document} {}\nQ:"
    )
    assert prompt.stop == ("\n",)
    renamed = tmp_path / "renamed.toml"
    renamed.write_text(GOOD.replace("mine", "yours"))
    assert prompts.load(renamed).fingerprint == prompt.fingerprint
    renamed.write_text(GOOD.replace("Q:", "Question:"))
    assert prompts.load(renamed).fingerprint != prompt.fingerprint


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('target = "Doc {number}: {document}', 'target = "Doc', "target has no {document}"),
        ('\\nQ:"', '\\nQ: "', "ends with a blank"),
        ("target =", "tarket =", r"unknown keys \['tarket'\]"),
        ('query = "{document}?"', "query = 3", "query is 3; expected a text"),
        ("Q: {query}", "Q:", "example.* needs {document} and {query}"),
        ('name = "mine"', "name mine", "not TOML"),
        ('name = "mine"', 'stop = ["a", ""]', "expected a list of texts"),
    ],
)
def test_a_file_that_is_no_prompt_is_refused_by_name(tmp_path, old, new, message):
    path = tmp_path / "own.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(DataError, match=message) as error:
        prompts.load(path)
    assert str(error.value).startswith(str(path))


def test_an_unknown_name_gets_a_suggestion_and_a_missing_file_its_path(tmp_path):
    with pytest.raises(SettingError, match="Did you mean 'inpars'"):
        prompts.load("inparz")
    with pytest.raises(DataError, match="no such prompt file"):
        prompts.load(tmp_path / "none.toml")
