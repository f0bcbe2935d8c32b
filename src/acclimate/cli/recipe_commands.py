"""The commands on recipes: `acclimate recipes ...` and `acclimate reproduce`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

import acclimate
from acclimate.base.text import columns, on_one_line, printable
from acclimate.cli.options import Changes, Folder
from acclimate.run.settings import Setting, as_typed, check

Parts = Annotated[str | None, Parameter(metavar="A,B,...")]

recipes_app = App(
    name="recipes", help="The recipes: settings under a name, most of them those of a paper.", help_format="plaintext"
)


@recipes_app.command(name="list")
def list_recipes() -> None:
    """The recipes that adapt --recipe may name, each with what it is and the paper that it follows."""
    recipes = acclimate.recipes()
    width = max(map(len, recipes))
    for name, recipe in recipes.items():
        print(f"{name:{width}}  {recipe.description}" + (f" [{recipe.paper}]" if recipe.paper else ""))


@recipes_app.command(name="show")
def show_recipe(recipe: str) -> None:
    """Print every setting of a recipe as TOML, those that it changes first, with where each is from.

    Parameters
    ----------
    recipe
        A name from `acclimate recipes list`, a TOML file, or the folder of a run; several by commas.
    """
    print(printable(str(acclimate.recipe(recipe))))


@recipes_app.command(name="diff")
def diff_recipes(first: str, second: str) -> None:
    """Print the settings in which two recipes differ, a line each with both values.

    Parameters
    ----------
    first
        A name, a TOML file, or the folder of a run.
    second
        Another.
    """
    differences = acclimate.recipe(first).differences(acclimate.recipe(second))
    rows = [("", first, second), *((name, as_typed(ours), as_typed(theirs)) for name, ours, theirs in differences)]
    print("\n".join(columns([[on_one_line(cell) for cell in row] for row in rows], "<<<")))


def reproduce(recipe: str, *, out: Folder, collections: Parts = None, seeds: Parts = "0", set_: Changes = None) -> None:
    """Run a paper's recipe over collections and seeds, and put what it reaches beside what was published.

    Each collection and seed is a run of its own in a folder of DIR, and the same command goes on where it was. Below
    the table stands in what the runs differ from what the paper had. DIR/reproduction.json has the same for programs.

    Parameters
    ----------
    recipe
        inpars-v1, inpars-v2, promptagator-plus or udapdr; others may follow, by commas, as in inpars-v2,embedded.
    out
        Folder for everything that is made.
    collections
        By their usual names, such as beir/scifact or lotte/lifestyle/dev/forum, or folders that end in such a name; if
        none are named, all that have published figures and can be had by name.
    seeds
        Seeds, by commas.
    """
    typed = check(seeds, Setting("seeds", tuple[int, ...], (), "", None), "--seeds")
    names = None if collections is None else [name for name in map(str.strip, collections.split(",")) if name]
    print(acclimate.reproduce(recipe, out=out, collections=names, seeds=typed or (0,), settings=set_ or ()))
