"""A stage's settings are the keyword-only arguments of its function; a recipe is a TOML file of changed ones.

So a default has one home, and the command line, the recipes, the manifests and the help all read it there. `seed` and
`progress` are keyword arguments too, but belong to the run and not to a stage.
"""

from __future__ import annotations

import inspect
import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.errors import DataError, SettingError, unknown

_OF_THE_RUN = {"seed", "progress"}

Settings = dict[str, dict[str, Any]]  # stage -> setting -> value


class Setting(NamedTuple):
    """One keyword-only argument of a stage."""

    name: str
    type: Any
    default: Any
    help: str


def settings_of(stage: Callable[..., Any]) -> dict[str, Setting]:
    """The settings of a stage function, in the order of its signature, with the help of its docstring."""
    helps = _parameter_helps(inspect.getdoc(stage) or "")
    return {
        name: Setting(name, _type(parameter.annotation, stage), parameter.default, helps.get(name, ""))
        for name, parameter in inspect.signature(stage).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in _OF_THE_RUN
    }


def _type(annotation: Any, stage: Callable[..., Any]) -> Any:
    """The annotation as a type. `str | LLM` is `str` to whoever types it; None stays.

    Only the settings' annotations are read: those of the data may name types that are not imported at run time.
    """
    hint = eval(annotation, inspect.unwrap(stage).__globals__) if isinstance(annotation, str) else annotation
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        plain = [part for part in typing.get_args(hint) if part in (str, int, float, bool, type(None))]
        return plain[0] if len(plain) == 1 else typing.Union[tuple(plain)]  # noqa: UP007 (made at run time)
    return hint


def _parameter_helps(docstring: str) -> dict[str, str]:
    """The text below each name in the docstring's numpydoc section "Parameters"."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", docstring, re.M | re.S)
    helps: dict[str, list[str]] = {}
    name = ""
    for line in (section.group(1) if section else "").splitlines():
        if line and not line[0].isspace():
            name = line.split(":")[0].strip()
            helps[name] = []
        elif line.strip() and name:
            helps[name].append(line.strip())
    return {name: " ".join(lines) for name, lines in helps.items()}


def check(value: Any, setting: Setting, where: str) -> Any:
    """`value` (from TOML, or text from a command line) as the setting's type. Raises SettingError."""
    kinds = typing.get_args(setting.type) or (setting.type,)
    if isinstance(value, str) and str not in kinds:
        value = value.strip()  # of texts, such as a prompt, spaces are a part
    try:
        if typing.get_origin(setting.type) is tuple:
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(kinds[0](str(part).strip()) for part in parts if str(part).strip())
        if type(None) in kinds and value in (None, "none", ""):
            return None
        if bool in kinds:
            return {"true": True, "false": False}[str(value).lower()]
        if int in kinds and float not in kinds:
            return int(value) if not isinstance(value, float) or value.is_integer() else int(str(value))
        if float in kinds:
            return float(value)
        if not isinstance(value, str):
            raise ValueError
        return value
    except (ValueError, KeyError, TypeError):
        raise SettingError(f"{where} is {value!r}; expected {_spoken(setting.type)}") from None


def _spoken(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"{'whole numbers' if typing.get_args(kind)[0] is int else 'names'} separated by commas"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    return " or ".join(words[part] for part in typing.get_args(kind) or (kind,))


def resolve(
    stages: Mapping[str, Callable[..., Any]], recipe: Mapping[str, Any], changes: Iterable[str] = ()
) -> Settings:
    """Every setting of every stage: the defaults, changed by the recipe, then by `stage.setting=value` texts.

    Raises SettingError for a stage or setting that does not exist, naming the nearest, and for a value of a wrong type.
    """
    known = {name: settings_of(stage) for name, stage in stages.items()}
    values = {name: {key: setting.default for key, setting in of.items()} for name, of in known.items()}

    def change(stage: str, key: str, value: Any) -> None:
        if stage not in known:
            raise unknown("stage", stage, known)
        if key not in known[stage]:
            raise unknown(f"setting of {stage}", key, known[stage])
        values[stage][key] = check(value, known[stage][key], f"{stage}.{key}")

    for stage, table in recipe.items():
        if not isinstance(table, dict):
            raise SettingError(f"recipe: {stage!r} is not a table; expected [stage] tables: {', '.join(known)}")
        for key, value in table.items():
            change(stage, key, value)
    for text in changes:
        name, equals, value = text.partition("=")
        stage, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            raise SettingError(f"--set {text!r}: expected stage.setting=value, such as sample.n_docs=500")
        change(stage, key.strip(), value)
    return values


def recipe_names() -> list[str]:
    """The recipes that acclimate brings."""
    folder = resources.files("acclimate") / "recipes"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def load_recipe(name: str) -> dict[str, Any]:
    """A recipe by name or by path: stage -> changed settings."""
    if name.endswith(".toml") or Path(name).is_file():
        path = Path(name)
        if not path.is_file():
            raise DataError("no such recipe file", path=path)
        text = path.read_text(encoding="utf-8")
    elif name in recipe_names():
        text = (resources.files("acclimate") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise unknown("recipe (or file)", name, recipe_names())
    try:
        recipe = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"not TOML: {error}", path=name) from None
    return {key: value for key, value in recipe.items() if key != "description"}
