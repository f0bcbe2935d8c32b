"""Stage settings: the keyword-only arguments of a stage's function. A recipe changes some of them (`run.recipes`).

The signature is the one home of defaults and valid values (`domains`): command line, recipes, manifests and help all
read them there. `seed` and `progress` are keyword arguments too, but belong to the run.
"""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, wraps
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, cast

from acclimate.base.domains import Between, Domain, OneOf, Text
from acclimate.base.errors import SettingError, unknown
from acclimate.base.text import quoted

_OF_THE_RUN = {"seed", "progress"}
_MOST_PARTS = 1000  # maximum number of values of one setting

Settings = dict[str, dict[str, Any]]  # stage -> setting -> value

# Changes as a mapping, or as `stage.setting=value` texts.
Changes = Iterable[str] | Mapping[str, Mapping[str, Any]]

_Stage = TypeVar("_Stage", bound=Callable[..., Any])


class Setting(NamedTuple):
    """One keyword-only argument of a stage."""

    name: str
    type: Any
    default: Any
    help: str
    domain: Domain | None = None

    @property
    def expected(self) -> str:
        """Description of valid values, for messages ending in `expected ...`."""
        kind = _type_name(self.type)
        if self.domain is None:
            return kind
        return str(self.domain) if kind == "text" else f"{kind}: {self.domain}"

    @property
    def values(self) -> str:
        """Short description of valid values, for a table."""
        return str(self.domain or _type_name(self.type))


@dataclass(frozen=True)
class Layer:
    """The changes made by one recipe file."""

    source: str  # name or path
    changes: Mapping[str, Mapping[str, Any]]  # stage -> setting -> value
    comments: Mapping[str, str] = field(default_factory=dict)  # stage.setting -> the file's comment


@dataclass(frozen=True)
class Recipe:
    """A named set of changed settings, including those of the recipes it extends."""

    name: str
    description: str
    paper: str
    layers: tuple[Layer, ...]  # later ones override
    seed: int | None = None


@cache
def settings_of(stage: Callable[..., Any]) -> Mapping[str, Setting]:
    """The settings of a stage function, in the order of its signature, with help from its docstring."""
    helps = _parameter_helps(inspect.getdoc(stage) or "")
    settings: dict[str, Setting] = {}
    for name, parameter in inspect.signature(stage).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and name not in _OF_THE_RUN:
            kind, domain = _type(parameter.annotation, stage)
            settings[name] = Setting(name, kind, parameter.default, helps.get(name, ""), domain)
    return settings


def checked(stage: _Stage) -> _Stage:
    """Decorate a stage to raise SettingError for settings outside their domains."""

    @wraps(stage)
    def call(*data: Any, **values: Any) -> Any:
        settings = settings_of(stage)
        for name in settings.keys() & values.keys():
            _check_domain(values[name], settings[name], name)
        return stage(*data, **values)

    return cast(_Stage, call)


def _type(annotation: Any, stage: Callable[..., Any]) -> tuple[Any, Domain | None]:
    """The type of an annotation, and its domain. `str | LLM` counts as `str`; None is preserved.

    Only annotations of settings are resolved: those of data may name types that are not imported at run time.
    """
    hint = eval(annotation, inspect.unwrap(stage).__globals__) if isinstance(annotation, str) else annotation
    domain = None
    if typing.get_origin(hint) is Annotated:
        hint, domain = typing.get_args(hint)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        plain = [part for part in typing.get_args(hint) if part in (str, int, float, bool, type(None))]
        return (plain[0] if len(plain) == 1 else typing.Union[tuple(plain)]), domain  # noqa: UP007 (made at run time)
    return hint, domain


def _parameter_helps(docstring: str) -> dict[str, str]:
    """Parameter name -> its text in the docstring's numpydoc section "Parameters"."""
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
    """Convert `value` (from TOML, or text of a command line) to the setting's type. Raises SettingError."""
    kinds = typing.get_args(setting.type) or (setting.type,)
    if isinstance(value, str) and str not in kinds:
        value = value.strip()  # not stripped for texts, such as prompts
    elif type(value) is int and kinds == (str,) and isinstance(setting.domain, Between):
        value = str(value)  # a number that may be a word instead, such as train.rerankers
    try:
        typed = _typed(value, setting.type, kinds)
    except (ValueError, KeyError, TypeError, OverflowError):
        raise SettingError(f"{where} is {quoted(value)}; expected {setting.expected}") from None
    _check_domain(typed, setting, where)
    return typed


def whole_number(value: Any, name: str, domain: Domain) -> int:
    """`value` as an integer of that domain. Raises SettingError that names it `name`."""
    return check(value, Setting(name, int, None, "", domain), name)


def _typed(value: Any, kind: Any, kinds: tuple[Any, ...]) -> Any:
    """Raises ValueError or TypeError for a value of another type."""
    if typing.get_origin(kind) is tuple:
        if hasattr(value, "tolist"):  # an array of NumPy
            value = value.tolist()
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise ValueError
        parts = [part.strip() if isinstance(part, str) else part for part in parts]
        if len(parts) > _MOST_PARTS:
            raise ValueError
        return tuple(_typed(part, kinds[0], kinds[:1]) for part in parts if part != "")
    if type(None) in kinds and value in (None, "none", ""):
        return None
    if bool in kinds:
        return {"true": True, "false": False}[str(value).lower()]
    if not isinstance(value, str) and str(value) in ("True", "False"):  # also of NumPy
        raise ValueError
    if int in kinds and float not in kinds and not (str in kinds and _is_word(value)):
        return _whole(value)
    if float in kinds:
        return float(value)
    if not isinstance(value, str):
        raise ValueError
    return value


def _is_word(value: Any) -> bool:
    """True for text that is no number, of a setting that has both."""
    return isinstance(value, str) and not value.strip().lstrip("+-").isdecimal()


def _whole(value: Any) -> int:
    """An int from a number or text. Raises ValueError if it is not whole."""
    whole = int(value)
    if not isinstance(value, str) and whole != value:
        raise ValueError
    return whole


def _check_domain(value: Any, setting: Setting, where: str) -> None:
    """Raises SettingError for a value, or part of a tuple, outside its domain; objects such as LLMs pass."""
    for part in value if isinstance(value, tuple | list) else (value,):
        if isinstance(part, str) and part not in Text():
            raise SettingError(f"{where} is {quoted(part)}; expected {Text()}")
        if setting.domain is None or not isinstance(part, str | int | float):
            if isinstance(part, float) and not math.isfinite(part):
                raise SettingError(f"{where} is {part}; expected a number")
        elif part not in setting.domain:
            if isinstance(setting.domain, OneOf):
                raise unknown(where, str(part), setting.domain.names)
            raise SettingError(f"{where} is {quoted(part)}; expected {setting.expected}")


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"{'whole numbers' if typing.get_args(kind)[0] is int else 'names'} separated by commas"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    return " or ".join(words[part] for part in typing.get_args(kind) or (kind,))


def resolve(
    stages: Mapping[str, Callable[..., Any]],
    recipe: Recipe | Mapping[str, Any],
    changes: Changes = (),
    source: str | Path = "recipe",
) -> Settings:
    """Every setting of every stage: the defaults, changed by the recipe, then by `changes`.

    Raises SettingError for an unknown stage or setting, suggesting the nearest, and for an invalid value. `source` is
    where a recipe that is a mapping comes from.
    """
    known = {name: settings_of(stage) for name, stage in stages.items()}
    values = {name: {key: setting.default for key, setting in of.items()} for name, of in known.items()}

    def change(stage: str, key: str, value: Any) -> None:
        if stage not in known:
            raise unknown("stage", stage, known)
        if key not in known[stage]:
            raise unknown(f"setting of {stage}", key, known[stage])
        values[stage][key] = check(value, known[stage][key], f"{stage}.{key}")

    for layer in recipe.layers if isinstance(recipe, Recipe) else (Layer(str(source), recipe),):
        try:
            for stage, table in layer.changes.items():
                if not isinstance(table, Mapping):
                    raise SettingError(f"{quoted(stage)} is not a table; expected [stage] tables: {', '.join(known)}")
                for key, value in table.items():
                    change(stage, key, value)
        except SettingError as error:
            raise SettingError(f"{layer.source}: {error}") from None
    for stage, table in merged(changes).items():
        for key, value in table.items():
            change(stage, key, value)
    return values


def as_text(value: Any) -> str:
    """A setting's value as typed on a command line."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def merged(*changes: Changes) -> dict[str, dict[str, Any]]:
    """Merge changes into one mapping, stage -> setting -> value; later ones override."""
    merged: dict[str, dict[str, Any]] = {}
    for some in changes:
        for stage, key, value in _changed(some):
            merged.setdefault(stage, {})[key] = value
    return merged


def _changed(changes: Changes) -> Iterator[tuple[str, str, Any]]:
    """(stage, setting, value) of each change."""
    if isinstance(changes, Mapping):
        for stage, table in changes.items():
            if not isinstance(table, Mapping):
                raise SettingError(
                    f"{stage} is {quoted(table)}; expected the settings of a stage: sample={{'n_docs': 500}}"
                )
            for key, value in table.items():
                yield stage, str(key), fspath(value) if isinstance(value, PathLike) else value
        return
    texts = changes if isinstance(changes, Iterable) and not isinstance(changes, str | bytes) else [changes]
    for text in texts:
        if not isinstance(text, str):
            raise SettingError(
                f"settings has {quoted(text)}; expected texts such as 'sample.n_docs=500', or "
                "{'sample': {'n_docs': 500}}"
            )
        name, equals, value = text.partition("=")
        stage, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            raise SettingError(f"--set {quoted(text)}: expected stage.setting=value, such as sample.n_docs=500")
        yield stage, key.strip(), value
