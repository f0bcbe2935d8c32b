"""The commands on recipes: `acclimate recipes ...`."""

from __future__ import annotations

from cyclopts import App

import acclimate
from acclimate.base.text import on_one_line, printable
from acclimate.run.settings import as_typed

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
    widths = [max(len(on_one_line(row[place])) for row in rows) for place in (0, 1)]
    for name, ours, theirs in rows:
        print(f"{name:{widths[0]}}  {on_one_line(ours):{widths[1]}}  {on_one_line(theirs)}".rstrip())
