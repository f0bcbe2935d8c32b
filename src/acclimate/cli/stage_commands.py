"""The commands that run the chain up to a stage, with options that are read from the stage's signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

import acclimate
from acclimate.api.stages import SUMMARIES
from acclimate.base.domains import AtLeast, OneOf
from acclimate.base.files import read_json
from acclimate.cli.options import Folder
from acclimate.report import terminal
from acclimate.run.settings import Setting, settings_of

_METAVARS = {
    int: "INT",
    int | None: "INT",
    float: "NUMBER",
    bool: "true|false",
    tuple[str, ...]: "A,B,...",
    tuple[int, ...]: "N,N,...",
}


def show(report: acclimate.Report) -> None:
    """Print a report, and what to do next."""
    print(report)
    if examples := terminal.examples(report):
        print(examples)
    print(f"Report: {report.folder / 'report.html'}")
    print(f'Search: acclimate search {report.folder} "your query"')


def stage_command(stage: str, function: Callable[..., Any]) -> Callable[..., None]:
    """A command that runs the chain up to a stage, with that stage's settings as options."""

    def command(run_dir: Folder, corpus: str | None = None, **values: str | None) -> None:
        given = {name: value for name, value in values.items() if value is not None}
        run = getattr(acclimate, stage)(run_dir, corpus=corpus, **given)
        if stage == "filter":
            print(terminal.funnel(read_json(run.folder / "filter" / "manifest.json")))
        if stage == "evaluate":
            show(run.report)

    command.__doc__ = f"{SUMMARIES[stage]}\n\nThe stages before it are made too, as far as they are not."
    kinds = inspect.Parameter
    run_dir = Annotated[Folder, Parameter(help="Folder of the run.", name="RUN-DIR")]
    corpus = Annotated[
        str | None, Parameter(help="Documents to begin a run with, as adapt takes them.", metavar="CORPUS")
    ]
    parameters = [
        kinds("run_dir", kinds.POSITIONAL_ONLY, annotation=run_dir),
        kinds("corpus", kinds.KEYWORD_ONLY, default=None, annotation=corpus),
    ]
    for setting in settings_of(function).values():
        option = Annotated[str | None, Parameter(help=help_of(setting), metavar=_METAVARS.get(setting.type, "TEXT"))]
        parameters.append(kinds(setting.name, kinds.KEYWORD_ONLY, default=None, annotation=option))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def help_of(setting: Setting) -> str:
    """What a setting is, what it may be where that is not said, and its default as one would type it."""
    default = setting.default
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    elif isinstance(default, float):
        default = f"{default:g}"
    elif default is None or isinstance(default, bool):
        default = str(default).lower()
    domain = setting.domain
    names = domain.names if isinstance(domain, OneOf) else [setting.values]
    is_said = domain in (None, AtLeast(0), AtLeast(1)) or all(name in setting.help for name in names)
    parts = [setting.help, "" if is_said else f"Values: {setting.values}.", f"[default: {default}]" * (default != "")]
    return " ".join(filter(None, parts))
