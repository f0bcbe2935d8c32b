"""The recipes: what each is, what it comes to, and in what two of them differ."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, NamedTuple

from acclimate.run.recipes import lines_of, load_recipe, recipe_names
from acclimate.run.settings import Recipe, Settings, as_typed, resolve
from acclimate.search.names import STUDENT_KINDS, SystemName
from acclimate.stages.chain import STAGES


class SettingDifference(NamedTuple):
    """A setting, `stage.setting`, that two recipes have differently.

    >>> print(acclimate.SettingDifference("distill.student", ("dense",), ("dense", "static")))
    distill.student: dense | dense,static
    """

    setting: str
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.setting}: {as_typed(self.first)} | {as_typed(self.second)}"


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with every setting of all stages. As text it is TOML: what it changes first, with what is said of it.

    >>> acclimate.recipe("run").settings["sample"]["n_docs"]
    500
    """

    name: str
    description: str
    paper: str
    settings: Settings  # stage -> setting -> value
    seed: int | None  # None: whatever the command says
    comments: dict[str, str]  # stage.setting -> where its value is from, in the words of its file

    def differences(self, other: ResolvedRecipe) -> list[SettingDifference]:
        """The settings in which another recipe differs, in the order of the chain."""
        ours, theirs = _flat(self), _flat(other)
        return [SettingDifference(name, ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]]

    @property
    def headline(self) -> str | None:
        """The system that the method is about: what `evaluate.systems` names of it, else its first student; None where
        the run chooses it."""
        named, students = self.settings["evaluate"]["systems"], self.settings["distill"]["student"]
        trained = [name for name in map(SystemName, named) if name.first.is_adapted or not students]
        if trained or not self.paper:
            return trained[0] if trained else None
        return SystemName(STUDENT_KINDS[students[0]]).adapted() if students else None

    def __str__(self) -> str:
        defaults = resolve(STAGES, {})
        changed: Settings = {}
        same: Settings = {}
        for stage, table in self.settings.items():
            for name, value in table.items():
                part = same if value == defaults[stage][name] else changed
                part.setdefault(stage, {})[name] = value
        seed = [] if self.seed is None else [f"run.seed = {self.seed}"]
        about = [f"# {self.name}: {self.description}", *([f"# {self.paper}"] if self.paper else [])]
        lines = [*about, "", "# What differs from the defaults", *seed, *lines_of(changed, self.comments)]
        return "\n".join([*lines, "", "# As by default", *lines_of(same, self.comments)])


def recipes() -> dict[str, Recipe]:
    """The recipes that acclimate brings, by name, each with its description, its paper and what it changes.

    >>> "Promptagator" in acclimate.recipes()["promptagator"].description
    True
    """
    return {name: load_recipe(name) for name in recipe_names()}


def recipe(name: str | PathLike[str]) -> ResolvedRecipe:
    """A recipe by name, from a TOML file, or from the folder of a run; several by commas, of which the later counts.

    Raises SettingError for an unknown name, stage or setting, DataError for a file that is no recipe.

    >>> print(acclimate.recipe("quick").differences(acclimate.recipe("run"))[0])
    index.max_tokens: 256 | 48
    """
    loaded = load_recipe(fspath(name))
    settings = resolve(STAGES, loaded)
    return ResolvedRecipe(loaded.name, loaded.description, loaded.paper, settings, loaded.seed, _comments(loaded))


def _comments(loaded: Recipe) -> dict[str, str]:
    """What the last file that changes a setting says of it, and which file that is where it is another."""
    comments: dict[str, str] = {}
    for layer in loaded.layers:
        source = "" if layer.source == loaded.name else f"({layer.source})"
        for stage, table in layer.changes.items():
            for name in table:
                said = layer.comments.get(f"{stage}.{name}", "")
                comments[f"{stage}.{name}"] = " ".join(filter(None, [said, source]))
    return comments


def _flat(resolved: ResolvedRecipe) -> dict[str, Any]:
    settings = {f"{stage}.{name}": value for stage, table in resolved.settings.items() for name, value in table.items()}
    return {"run.seed": resolved.seed or 0, **settings}
