"""`run.json`, which describes a run so that it can resume from its folder alone; and `recipe.toml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from acclimate.base.domains import SEEDS
from acclimate.base.errors import AcclimateError, DataError
from acclimate.base.files import read_json, write_json
from acclimate.base.text import command, quoted
from acclimate.llm.prices import Budget, as_options, read_limits
from acclimate.run.provided import Provided
from acclimate.run.recipes import write_recipe
from acclimate.run.run import Run
from acclimate.run.settings import Changes, resolve
from acclimate.run.workspace import RUN, Workspace, plain

NAME = RUN
_OPTIONAL = (str, type(None))
_LATER = ("log", "from_queries", "from_nway", "first_stage", "reranker")  # absent from runs of early versions
RETIRED = (("label", "trust"),)  # settings that were removed since
_FIELDS = {  # with their valid types
    "corpus": (str,),
    "source": (str,),
    **dict.fromkeys(asdict(Provided()), _OPTIONAL),
    "recipe": (str,),
    "seed": (int,),
    "settings": (dict,),
    "max_tokens": (list,),
    "max_cost": (list,),
    "prices": _OPTIONAL,
}


def write(run: Run) -> None:
    """Write a run's description to its folder, and its settings as a recipe."""
    description = {
        "corpus": run.collection_name,
        "source": run.input.source,
        **run.provided.as_json(),
        "recipe": run.recipe,
        "seed": run.seed,
        **as_options(run.budget.limits),
        "prices": str(run.budget.prices.absolute()) if run.budget.prices else None,
        "settings": plain_settings(run),
    }
    write_json(run.workspace.folder / NAME, description)
    write_recipe(run.workspace.folder, run.settings, run.seed)


def plain_settings(run: Run) -> dict[str, dict[str, Any]]:
    """The settings as JSON values."""
    return {stage: plain(table) for stage, table in run.settings.items()}


def read(folder: Path, stages: Mapping[str, Callable[..., Any]], changes: Changes = ()) -> Run:
    """Load the run described by a folder's `run.json`, finished or not, with some settings changed.

    stages: name -> the function whose settings are the stage's. Raises DataError for a missing or damaged file,
    SettingError for invalid changes.
    """
    workspace, path = Workspace(folder), folder / NAME
    workspace.refuse_nothing()
    try:
        description = read_json(path)
        _check(description, path)
        recorded = _without_retired(description["settings"])
        settings = resolve(stages, recorded, (), path)
        limits = (list(map(str, description[name])) for name in ("max_tokens", "max_cost"))
        prices = description["prices"]
        budget = Budget(read_limits(*limits), Path(prices) if prices else None)
    except AcclimateError as error:
        where = "" if str(path) in str(error) else f"{path}: "
        again = f"write it again with the command that began the run: {command('adapt', 'CORPUS', '--out', folder)}"
        raise DataError(f"{where}{error}; {again}") from None
    if changes:  # on their own, as a mistake in them is none of the file's
        settings = resolve(stages, recorded, changes, path)
    return Run(
        workspace,
        settings,
        description["seed"],
        description["corpus"],
        Provided.from_json(description),
        description["recipe"],
        budget,
        source=description["source"],
    )


def _without_retired(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a file, which may be malformed, without those that were removed since."""
    return {
        stage: {name: value for name, value in table.items() if (stage, name) not in RETIRED}
        if isinstance(table, Mapping)
        else table
        for stage, table in settings.items()
    }


def _check(description: Any, path: Path) -> None:
    """Raises DataError for an invalid description."""
    expected = "expected the JSON object that describes a run"
    if not isinstance(description, dict):
        raise DataError(f"found a {type(description).__name__}; {expected}", path=path)
    for name, kinds in _FIELDS.items():
        if name not in description and name not in _LATER:
            raise DataError(f"{name!r} is missing; {expected}", path=path)
        value = description.get(name)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise DataError(f"{name!r} is {value!r:.50}; {expected}", path=path)
    if description["seed"] not in SEEDS:
        raise DataError(f"'seed' is {quoted(description['seed'])}; expected a whole number: {SEEDS}", path=path)
