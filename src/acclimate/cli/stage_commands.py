"""Commands that run the chain up to a stage, with an option for each setting in the stage's signature.

Reading a signature imports the stage and its libraries, which is too slow for help. So the names and help texts of
options are in `stages.json`, written from the signatures by docs/generate.py and checked by a test. Values are checked
by the stage itself, which also knows the defaults.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

import acclimate
from acclimate.base.domains import AtLeast, OneOf
from acclimate.base.text import command
from acclimate.cli.options import Executor, Folder
from acclimate.run.settings import Setting, as_text, settings_of

ALL_STAGES = "Earlier stages that have not run yet are run first. Settings that are not given keep the run's values."
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
    from acclimate.report import terminal

    print(report)
    if examples := terminal.examples(report):
        print(examples)
    print(f"Report: {report.folder / 'report.html'}")
    print(f'Search: {command("search", report.folder)} "your query"')


def texts() -> dict[str, Any]:
    """What help says of each stage and its settings, read from their signatures: what `stages.json` is to hold."""
    from acclimate.api.stages import SUMMARIES
    from acclimate.stages.chain import STAGES

    return {
        stage: {
            "help": f"{SUMMARIES[stage]}\n\n{ALL_STAGES}",
            "options": {
                name: {"metavar": _METAVARS.get(setting.type, "TEXT"), "help": help_of(setting)}
                for name, setting in settings_of(function).items()
            },
        }
        for stage, function in STAGES.items()
    }


@cache
def _stored_texts() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("stages.json").read_text(encoding="utf-8"))


def register(app: App) -> None:
    """Register a command for each stage by its import path, resolved later by `__getattr__`."""
    for stage, text in _stored_texts().items():
        app.command(f"{__name__}:{stage}", name=stage, help=text["help"])


def __getattr__(stage: str) -> Callable[..., None]:
    """A command that runs the chain up to a stage, with that stage's settings as options."""
    if stage not in _stored_texts():
        raise AttributeError(f"module {__name__!r} has no attribute {stage!r}")

    def command(run_dir: Folder, corpus: str | None = None, executor: str | None = None, **values: str | None) -> None:
        changed = {name: value for name, value in values.items() if value is not None}
        run = getattr(acclimate, stage)(run_dir, corpus=corpus, executor=executor, **changed)
        if stage == "filter":
            from acclimate.base.files import read_json
            from acclimate.report import terminal

            print(terminal.funnel(read_json(run.folder / "filter" / "manifest.json")))
        if stage == "evaluate":
            show(run.report)

    kinds = inspect.Parameter
    run_dir = Annotated[Folder, Parameter(help="Folder of the run.", name="RUN-DIR")]
    corpus = Annotated[str | None, Parameter(help="Documents to start a new run with, as for adapt.", metavar="CORPUS")]
    executor = Annotated[Executor, Parameter(help="Ray cluster to work on; see adapt.")]
    parameters = [
        kinds("run_dir", kinds.POSITIONAL_ONLY, annotation=run_dir),
        kinds("corpus", kinds.KEYWORD_ONLY, default=None, annotation=corpus),
        kinds("executor", kinds.KEYWORD_ONLY, default=None, annotation=executor),
    ]
    for name, text in _stored_texts()[stage]["options"].items():
        option = Annotated[str | None, Parameter(**text)]
        parameters.append(kinds(name, kinds.KEYWORD_ONLY, default=None, annotation=option))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def help_of(setting: Setting) -> str:
    """Help text of a setting: its description, its possible values if not mentioned there, and its default as typed."""
    default = f"{setting.default:g}" if isinstance(setting.default, float) else as_text(setting.default)
    domain = setting.domain
    names = domain.names if isinstance(domain, OneOf) else [setting.values]
    is_described = domain in (None, AtLeast(0), AtLeast(1)) or all(name in setting.help for name in names)
    parts = [
        setting.help,
        "" if is_described else f"Values: {setting.values}.",
        f"[default: {default}]" * (default != ""),
    ]
    return " ".join(filter(None, parts))
