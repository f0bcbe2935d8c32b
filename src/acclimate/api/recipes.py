"""List recipes, resolve them into settings, and compare them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from acclimate.base.arguments import StrPath, path_text
from acclimate.base.errors import SettingError
from acclimate.base.text import quoted
from acclimate.run.recipes import lines_of, load_recipe, recipe_names
from acclimate.run.settings import Recipe, Settings, as_text, resolve
from acclimate.search.names import STUDENT_KINDS, SystemName
from acclimate.stages.chain import STAGES


class SettingDifference(NamedTuple):
    """A setting, `stage.setting`, that differs between two recipes.

    >>> print(acclimate.SettingDifference("distill.student", ("dense",), ("dense", "static")))
    distill.student: dense | dense,static
    """

    setting: str
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.setting}: {as_text(self.first)} | {as_text(self.second)}"


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with every setting of all stages. As text it is TOML: changed settings first, with their comments.

    >>> acclimate.recipe("run").settings["sample"]["n_docs"]
    500
    """

    name: str
    description: str
    paper: str
    settings: Settings  # stage -> setting -> value
    seed: int | None  # None: chosen on the command line
    comments: dict[str, str]  # stage.setting -> the comment in its file

    def differences(self, other: ResolvedRecipe) -> list[SettingDifference]:
        """The settings that differ in another recipe, in the order of the chain.

        Raises SettingError for what is no such recipe, such as its name.
        """
        if not isinstance(other, ResolvedRecipe):
            raise SettingError(f"other is {quoted(other)}; expected a recipe, such as acclimate.recipe('quick')")
        ours, theirs = _flat(self), _flat(other)
        return [SettingDifference(name, ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]]

    @property
    def headline(self) -> str | None:
        """The system that the method is about, from `evaluate.systems` or the first student; None if the run
        chooses."""
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
        title = ": ".join(filter(None, (self.name, self.description)))  # a run's recipe has no description
        about = [f"# {title}", *([f"# {self.paper}"] if self.paper else [])]
        lines = [*about, "", "# What differs from the defaults", *seed, *lines_of(changed, self.comments)]
        return "\n".join([*lines, "", "# As by default", *lines_of(same, self.comments)])


def recipes() -> dict[str, Recipe]:
    """The built-in recipes by name, each with its description, its paper and the settings it changes.

    >>> "Promptagator" in acclimate.recipes()["promptagator"].description
    True
    """
    return {name: load_recipe(name) for name in recipe_names()}


def recipe(name: StrPath) -> ResolvedRecipe:
    """A recipe by name, from a TOML file, or from a run's folder; of several, separated by commas, later ones override.

    Raises SettingError for an unknown name, stage or setting, DataError for a file that is not a recipe.

    >>> print(acclimate.recipe("quick").differences(acclimate.recipe("run"))[0])
    index.max_tokens: 256 | 48
    """
    loaded = load_recipe(path_text(name, "name"))
    settings = resolve(STAGES, loaded)
    return ResolvedRecipe(loaded.name, loaded.description, loaded.paper, settings, loaded.seed, _comments(loaded))


def _comments(loaded: Recipe) -> dict[str, str]:
    """The comment on each setting in the last file that changes it, and that file's name if it is another."""
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
