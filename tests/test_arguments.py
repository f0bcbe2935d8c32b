"""What a program passes as a path that cannot be one is refused under the argument's name, before any work."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import acclimate
from acclimate.api import judge, serve
from acclimate.base.errors import SettingError

NO_PATHS = (5, b"run", ["run"], "r" * 256, "run/" * 2_000, "a\0b", "\ud800")


def paths_of(function: Callable[..., Any]) -> list[str]:
    """The parameters that are paths."""
    return [name for name, each in inspect.signature(function).parameters.items() if "StrPath" in str(each.annotation)]


def functions() -> dict[str, Callable[..., Any]]:
    """The public functions and methods by name, those with options included, which are called with a folder."""
    public = {name: value for name in acclimate.__all__ if inspect.isfunction(value := getattr(acclimate, name))}
    for kind in (acclimate.Run, acclimate.Answers):
        methods = {name: value for name, value in vars(kind).items() if inspect.isfunction(value)}
        public |= {f"{kind.__name__}.{name}": value for name, value in methods.items()}
    return public | {"judge": judge.judge, "application": serve.application}


def called(function: Callable[..., Any], parameter: str, value: object) -> None:
    """Call a function with what it must have, in the working directory of `place`, and one argument replaced."""
    usual = {
        "self": acclimate.Answers("run") if "Answers" in function.__qualname__ else acclimate.Run("run"),
        "folder": Path("run"),
        "corpus": "corpus.jsonl",
        "name": "udapdr",
    }
    positional, named = [], {}
    for name, each in inspect.signature(function).parameters.items():
        if name == parameter:
            given = value
        elif each.default is each.empty and each.kind is not each.VAR_KEYWORD:
            given = usual.get(name, "x")
        else:
            continue
        if each.kind is each.KEYWORD_ONLY:
            named[name] = given
        else:
            positional.append(given)
    function(*positional, **named)


@pytest.fixture(scope="module")
def place(finished, corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(finished, folder / "run")
    shutil.copy(corpus, folder / "corpus.jsonl")
    return folder


@pytest.mark.parametrize(
    ("name", "parameter"), [(name, path) for name, function in functions().items() for path in paths_of(function)]
)
def test_what_is_no_path_is_refused_under_its_name(name, parameter, place, fake_llm, monkeypatch):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    shown = {"others": "baseline", "runs": "run"}.get(parameter, parameter)
    for value in NO_PATHS:
        if not (isinstance(value, list) and parameter in ("corpus", "newdocs")):  # documents, perhaps
            with pytest.raises(SettingError, match=f"^{shown} (is|has) "):
                called(functions()[name], parameter, value)
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("opens", [acclimate.open, acclimate.status, acclimate.index, acclimate.Run])
def test_an_empty_name_is_not_the_current_folder(opens):
    with pytest.raises(acclimate.SettingError, match="folder is empty; expected the folder of a run"):
        opens("")
