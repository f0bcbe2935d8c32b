"""Write the documentation and help that follow from the code: `python docs/generate.py`; with --check only compare."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclopts import App, Parameter

from acclimate.cli import stage_commands
from acclimate.run.recipes import load_recipe, recipe_names
from acclimate.run.settings import as_text, resolve, settings_of
from acclimate.stages.chain import STAGES

DOCS = Path(__file__).resolve().parent


def stages() -> str:
    """src/acclimate/cli/stages.json: what help says of each stage and its settings."""
    return json.dumps(stage_commands.texts(), indent=1, ensure_ascii=False) + "\n"


def settings() -> str:
    """docs/settings.md: every setting with its default, and the recipes."""
    lines = [
        "# Settings",
        "",
        "<!-- Written by docs/generate.py from the stages' signatures; do not edit. -->",
        "",
        "Each stage is a function, and its settings are the keyword arguments of that function. Change one with",
        "`--set stage.setting=value`, with the option of the stage's own command (`acclimate mine run --n-ways 8`), or",
        "in a recipe: a TOML file with a table for each stage. The recipe of `acclimate adapt` is `quick` by default;",
        "its values stand behind the defaults that they replace.",
    ]
    quick = resolve(STAGES, load_recipe("quick"))
    for stage, function in STAGES.items():
        lines += ["", f"## {stage}", "", (function.__doc__ or "").strip().partition("\n")[0], ""]
        lines += _table("setting", "default", "values", "what it does")
        for setting in settings_of(function).values():
            default, value = _shown(setting.default), _shown(quick[stage][setting.name])
            shown = default if value == default else f"{default}, quick: {value}"
            lines.append(_row(f"`{setting.name}`", shown, *map(_escaped, (setting.values, setting.help))))
    lines += [
        "",
        "## Recipes",
        "",
        "`acclimate recipes show NAME` prints every setting of one; [recipes.md](recipes.md)",
    ]
    lines += ["says more of them.", "", *_table("recipe", "what it is", "paper")]
    for name, recipe in ((name, load_recipe(name)) for name in recipe_names()):
        lines.append(_row(f"`{name}`", recipe.description, recipe.paper))
    return "\n".join(lines) + "\n"


def commands() -> str:
    """docs/commands.md: every command with its options."""
    from acclimate.cli.main import app  # made of stages.json, which is written before

    lines = [
        "# Commands",
        "",
        "<!-- Written by docs/generate.py from the command line; do not edit. -->",
        "",
        "Results go to stdout, progress and errors to stderr. Exit codes: 0 success, 2 a mistake that a message",
        "explains, 3 a budget was reached (state kept), 130 interrupted, 143 terminated, 129 hung up (state kept).",
        "",
        "`index` to `evaluate` run the pipeline up to one stage, with [its settings](settings.md) as options, such as",
        f"`acclimate mine run --n-ways 8`. {stage_commands.ALL_STAGES}",
        "`--corpus CORPUS` starts a new run, and `--executor` takes a Ray cluster, as in `adapt`.",
    ]
    order = ["adapt", *STAGES]
    texts = dict(_commands(app))
    for name in [*order, *sorted(texts.keys() - {*order})]:
        lines += ["", f"## {name}", "", *texts[name]]
    return "\n".join(lines) + "\n"


def _commands(parent: App, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Each command by what one types after `acclimate`, with its lines; those of a group one by one."""
    for name in parent:
        if name.startswith("-"):
            continue
        if any(not child.startswith("-") for child in parent[name]):
            yield from _commands(parent[name], f"{path}{name} ")
        else:
            yield f"{path}{name}", _command(f"{path}{name}", parent[name], parent.default_parameter)


def _command(name: str, command: App, default_parameter: Parameter | None) -> list[str]:
    """What it is for, how one types it, and its options; those of a stage are its settings."""
    text = _escaped(inspect.cleandoc(command.help).partition("\nParameters\n")[0].strip())
    if name in STAGES:
        summary = text.removesuffix(stage_commands.ALL_STAGES).strip()
        return [summary, "", f"`acclimate {name} RUN-DIR [OPTIONS]`: [settings](settings.md#{name})."]
    usage, rows = [f"acclimate {name}"], []
    for argument in command.assemble_argument_collection(default_parameter=default_parameter, parse_docstring=True):
        is_named = argument.index is None
        value = "" if argument.is_flag() else argument.parameter.metavar or _placeholder(argument.name)
        typed = f"{argument.name} {value}".strip() if is_named else _placeholder(argument.name)
        if argument.required or not is_named:
            usage.append(typed if argument.required else f"[{typed}]")
        default = argument.field_info.default
        has_none = any(default is none for none in (None, False, inspect.Parameter.empty))
        shown = "" if has_none or argument.required else _shown(default)
        rows.append(_row(f"`{typed}`", shown, _escaped(" ".join((argument.parameter.help or "").split()))))
    options = ["", *_table("option", "default", "what it does"), *rows] if rows else []
    return [text, "", f"`{' '.join(usage)}`", *options]


def _placeholder(option: str) -> str:
    return option.lstrip("-").upper()


def _table(*heads: str) -> list[str]:
    return [_row(*heads), _row(*("---" for _ in heads))]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _escaped(text: str) -> str:
    """Help, which is plain text, as Markdown: what looks like a tag is none."""
    return text.replace("<", "&lt;")


def _shown(value: object) -> str:
    return f"`{text}`" if (text := as_text(value)) else ""


PAGES = {"../src/acclimate/cli/stages.json": stages, "settings.md": settings, "commands.md": commands}


def main() -> int:
    stale = []
    for path, write in ((DOCS / name, write) for name, write in PAGES.items()):
        text = write()
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"wrote {path.resolve().relative_to(DOCS.parent)}")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
    if stale:
        print(f"{' and '.join(stale)}: not what the code says; write anew with: make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
