"""Write the documentation that follows from the code: `python docs/generate.py`, or with --check only compare."""

from __future__ import annotations

import sys
from pathlib import Path

from acclimate.run.recipes import load_recipe, recipe_names
from acclimate.run.settings import as_typed, settings_of
from acclimate.stages.chain import STAGES

SETTINGS = Path(__file__).with_name("settings.md")


def settings() -> str:
    """docs/settings.md: every setting with its default, and the recipes."""
    lines = [
        "# Settings",
        "",
        "<!-- Written by docs/generate.py from the stages' signatures; do not edit. -->",
        "",
        "Each stage is a function, and its settings are the keyword arguments of that function. Change one with",
        "`--set stage.setting=value`, with the option of the stage's own command (`acclimate mine run --n-ways 8`), or",
        "in a recipe: a TOML file with a table for each stage.",
    ]
    for stage, function in STAGES.items():
        lines += ["", f"## {stage}", "", (function.__doc__ or "").strip().partition("\n")[0], ""]
        lines += [_row("setting", "default", "values", "what it does"), _row("---", "---", "---", "---")]
        for setting in settings_of(function).values():
            lines.append(_row(f"`{setting.name}`", _shown(setting.default), setting.values, setting.help))
    lines += [
        "",
        "## Recipes",
        "",
        "`acclimate recipes show NAME` prints every setting of one; [recipes.md](recipes.md)",
    ]
    lines += ["says more of them.", "", _row("recipe", "what it is", "paper"), _row("---", "---", "---")]
    for name, recipe in ((name, load_recipe(name)) for name in recipe_names()):
        lines.append(_row(f"`{name}`", recipe.description, recipe.paper))
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(value: object) -> str:
    return f"`{as_typed(value)}`" if value != "" else ""


def main() -> int:
    text = settings()
    if "--check" in sys.argv[1:]:
        if not SETTINGS.exists() or SETTINGS.read_text(encoding="utf-8") != text:
            print(f"{SETTINGS.name} is not what the code says; write it anew with: make docs", file=sys.stderr)
            return 1
        return 0
    SETTINGS.write_text(text, encoding="utf-8", newline="\n")
    print(f"wrote docs/{SETTINGS.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
