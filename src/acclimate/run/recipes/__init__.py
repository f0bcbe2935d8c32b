"""Recipes: named sets of settings. Those of the papers are the TOML files in this folder; users can write others.

    description = "what it is for, in a line"
    source = "the paper"
    extends = "inpars-v1"         # start from another: a name, or a file beside this one
    [sample]                      # one table per stage; docs/settings.md lists the settings
    n_docs = 500                  # comments above or behind a setting are shown with it
    [models]                      # replaces every llm, encoder, reranker or teacher named before
    llm = "openai:MODEL"
    [run]
    seed = 1                      # if not given on the command line

Several names separated by commas (`udapdr,embedded`) are applied in order, later ones overriding.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from acclimate.base.domains import SEEDS
from acclimate.base.errors import AcclimateError, SettingError, unknown
from acclimate.base.files import is_file, read_text, read_toml, write_text
from acclimate.base.text import command, quoted
from acclimate.base.toml import as_toml
from acclimate.base.version import __version__
from acclimate.run.settings import Layer, Recipe, Settings, merged, whole_number

NAME = "recipe.toml"  # name in a run's folder, with every setting of it
_TEXTS = ("description", "source", "extends")
_TABLES = ("models", "run")  # tables that are not stages
_LONGEST = 1000  # characters; comments on longer lines are ignored
_LLMS = (("seed", "llm"), ("generate", "llm"), ("filter", "llm"))
_ROLES = ("llm", "encoder", "reranker", "teacher")


@dataclass(frozen=True)
class _File:
    """A recipe file as written."""

    source: str
    table: Mapping[str, Any]
    comments: Mapping[str, str]
    folder: Path | None = None  # None for a built-in one

    @property
    def identity(self) -> str:
        """Unique id of a recipe: the name of a built-in one, the path of another."""
        return self.source if self.folder is None else os.path.realpath(self.source)

    def text(self, key: str) -> str:
        value = self.table.get(key, "")
        if not isinstance(value, str):
            raise SettingError(f"{self.source}: {key} is {quoted(value)}; expected text")
        return value

    def part(self, name: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
        """A table that is not a stage. Raises SettingError for an unknown key."""
        part = self.table.get(name, {})
        if not isinstance(part, Mapping):
            raise SettingError(f"{self.source}: {name} is {quoted(part)}; expected a table: {', '.join(keys)}")
        for key in part:
            if key not in keys:
                raise SettingError(f"{self.source}: {unknown(f'key of {name}', key, keys)}")
        return part

    @property
    def changes(self) -> dict[str, Mapping[str, Any]]:
        """Stage -> setting -> value; validated later, by `settings.resolve`."""
        changes: dict[str, Mapping[str, Any]] = {}
        for key, value in self.table.items():
            if isinstance(value, Mapping):
                changes[key] = value
            elif key not in (*_TEXTS, *_TABLES):
                raise SettingError(f"{self.source}: {unknown('key', key, _TEXTS)}; settings are in [stage] tables")
        return {key: value for key, value in changes.items() if key not in _TABLES}


@cache
def recipe_names() -> list[str]:
    """The names of the built-in recipes."""
    files = resources.files("acclimate.run.recipes").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_recipe(name: str) -> Recipe:
    """Load a recipe by name, by file, or by the folder of a run; several are separated by commas.

    Raises SettingError for an unknown name or key, and for files that extend each other in a circle.
    """
    parts = [name] if _path(name, Path()) else [part.strip() for part in name.split(",")]
    files = [_read(part, Path()) for part in parts]
    layers: list[Layer] = []
    seed: int | None = None
    for file in (each for part in files for each in _extended(part)):
        layers.append(Layer(file.source, file.changes, file.comments))
        if models := file.part("models", _ROLES):
            for role, model in models.items():
                if not isinstance(model, str):
                    raise SettingError(f"{file.source}: models.{role} is {quoted(model)}; expected the name of a model")
            layers.append(Layer(file.source, _with_models(merged(*(layer.changes for layer in layers)), models)))
        if "seed" in (run := file.part("run", ("seed",))):
            seed = whole_number(run["seed"], f"{file.source}: run.seed", SEEDS)
    descriptions, papers = ([file.text(key) for file in files] for key in ("description", "source"))
    return Recipe(name, " ".join(filter(None, descriptions)), papers[0], tuple(layers), seed)


def _extended(file: _File, above: tuple[_File, ...] = ()) -> Iterator[_File]:
    """The files that a file extends, first to last, then itself."""
    above = (*above, file)
    if file.identity in (each.identity for each in above[:-1]):
        raise SettingError(f"{above[0].source}: extends itself: {' extends '.join(each.source for each in above)}")
    if extends := file.text("extends"):
        try:
            base = _read(extends, file.folder)
        except AcclimateError as error:
            raise SettingError(f"{file.source}: extends: {error}") from None
        yield from _extended(base, above)
    yield file


def _read(name: str, folder: Path | None) -> _File:
    """Read a recipe named in a file in `folder`."""
    if name in recipe_names():
        text = (resources.files("acclimate.run.recipes") / f"{name}.toml").read_text(encoding="utf-8")
        return _File(name, tomllib.loads(text), _comments(text))
    path = None if folder is None else _path(name, folder)
    if path is None:
        raise unknown("recipe (or file)", name, recipe_names())
    return _File(str(path), read_toml(path), _comments(read_text(path)), path.parent)


def _path(name: str, folder: Path) -> Path | None:
    """The file that a name refers to, if any; a folder stands for the recipe of the run in it."""
    path = folder / name
    if not name or name in recipe_names():
        return None
    if is_file(path / NAME):
        return path / NAME
    return path if is_file(path) or (name.endswith(".toml") and "," not in name) else None


def _with_models(changes: Mapping[str, Mapping[str, Any]], models: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Replace settings that name models by the model of their role."""
    instead: dict[str, dict[str, Any]] = {}
    if "llm" in models:
        for stage, key in _LLMS:
            instead.setdefault(stage, {})[key] = models["llm"]
    if "encoder" in models:
        instead["distill"] = {"base": models["encoder"]}
    if "reranker" in models:
        instead["train"] = {"base": models["reranker"]}
    if "teacher" in models:
        filtering, labelling = changes.get("filter", {}), changes.get("label", {})
        if filtering.get("reranker"):
            instead.setdefault("filter", {})["reranker"] = models["teacher"]
        teachers = labelling.get("teachers", [])
        names = [name.strip() for name in teachers.split(",")] if isinstance(teachers, str) else teachers
        # Other types are left to `resolve`, which raises.
        if names and isinstance(names, list) and all(isinstance(name, str) for name in names):
            names = [models["teacher"] if ":" in name else name for name in names]
            instead["label"] = {"teachers": list(dict.fromkeys(names))}
    return instead


def _comments(text: str) -> dict[str, str]:
    """The comment on each setting of a recipe file: on the lines above, and at the end of its line."""
    stage, above = "", []
    comments: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        if line.startswith("#"):
            above.append(line.lstrip("#").strip())
            continue
        if header := re.match(r"\[([\w-]+)\]", line):
            stage = f"{header[1]}."
        elif setting := re.match(r"([\w.-]+)\s*=", line):
            comments[stage + setting[1]] = " ".join(filter(None, [*above, _ending_comment(line)]))
        above = []
    return {name: comment for name, comment in comments.items() if comment}


def _ending_comment(line: str) -> str:
    """The comment at the end of a line of TOML."""
    for place, character in enumerate(line[:_LONGEST]):
        if character == "#":
            try:
                tomllib.loads(line[:place])
            except ValueError:
                continue
            return line[place + 1 :].strip()
    return ""


def lines_of(settings: Settings, says: Mapping[str, str] | None = None) -> list[str]:
    """Settings as lines of a recipe, also valid for `--set` apart from quotes. says: comments to append."""
    lines = []
    for stage, table in settings.items():
        for key, value in table.items():
            comment = (says or {}).get(f"{stage}.{key}")
            lines.append(f"{stage}.{key} = {as_toml(value)}" + (f"  # {comment}" if comment else ""))
    return lines


def write_recipe(folder: Path, settings: Settings, seed: int) -> None:
    """Write every setting of a run: used as a recipe on the same corpus, it reproduces the run exactly."""
    head = (
        f"# Every setting of a run by acclimate {__version__}. The same bytes again, of the same documents and queries:"
    )
    again = f"# {command('adapt', 'CORPUS', '--out', 'ANOTHER', '--recipe', NAME)}"
    write_text(folder / NAME, "\n".join([head, again, f"run.seed = {seed}", *lines_of(settings)]) + "\n")
