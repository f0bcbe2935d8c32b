"""Commands on recipes: `acclimate recipes ...` and `acclimate reproduce`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

import acclimate
from acclimate.base.text import columns, on_one_line, printable
from acclimate.cli.options import Changes, Folder
from acclimate.run.settings import Setting, as_text, check

Parts = Annotated[str | None, Parameter(metavar="A,B,...")]

recipes_app = App(
    name="recipes", help="Named collections of settings, most of them from papers.", help_format="plaintext"
)


@recipes_app.command(name="list")
def list_recipes() -> None:
    """List the recipes that adapt --recipe accepts, with the papers they follow."""
    recipes = acclimate.recipes()
    width = max(map(len, recipes))
    for name, recipe in recipes.items():
        print(f"{name:{width}}  {recipe.description}" + (f" [{recipe.paper}]" if recipe.paper else ""))


@recipes_app.command(name="show")
def show_recipe(recipe: str) -> None:
    """Print every setting of a recipe as TOML, changed ones first, with the source of each.

    Parameters
    ----------
    recipe
        A name from `acclimate recipes list`, a TOML file, or the folder of a run; separate several with commas.
    """
    print(printable(str(acclimate.recipe(recipe))))


@recipes_app.command(name="diff")
def diff_recipes(first: str, second: str) -> None:
    """Print the settings in which two recipes differ, with both values.

    Parameters
    ----------
    first
        A name, a TOML file, or the folder of a run.
    second
        A name, a TOML file, or the folder of a run.
    """
    differences = acclimate.recipe(first).differences(acclimate.recipe(second))
    rows = [("", first, second), *((name, as_text(ours), as_text(theirs)) for name, ours, theirs in differences)]
    print("\n".join(columns([[on_one_line(cell) for cell in row] for row in rows], "<<<")))


def reproduce(recipe: str, *, out: Folder, collections: Parts = None, seeds: Parts = "0", set_: Changes = None) -> None:
    """Run a paper's recipe on collections and seeds, and compare the results with the published ones.

    Each collection and seed is a separate run in a folder of DIR; run the same command again to resume. Notes below the
    table list the differences to the paper's setup. DIR/reproduction.json has the same for programs.

    Parameters
    ----------
    recipe
        inpars-v1, inpars-v2, promptagator-plus or udapdr; append others with commas, as in inpars-v2,embedded.
    out
        Output folder.
    collections
        Usual names, such as beir/scifact or lotte/lifestyle/dev/forum, or folders that end in such a name; by default
        all collections with published results that are available by name.
    seeds
        Seeds, separated by commas.
    """
    typed = check(seeds, Setting("seeds", tuple[int, ...], (), "", None), "--seeds")
    names = None if collections is None else [name for name in map(str.strip, collections.split(",")) if name]
    print(acclimate.reproduce(recipe, out=out, collections=names, seeds=typed or (0,), settings=set_ or ()))
