"""The commands that run the chain up to a stage, with options that are read from the stage's signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from acclimate.base.files import read_json
from acclimate.base.progress import shown
from acclimate.cli.options import Folder
from acclimate.run.run import Run
from acclimate.stages.runs import begin, stored


def go(run: Run, *, until: str = "evaluate") -> None:
    """Run the chain; print the report when it came to its end."""
    from acclimate.api.adapt import adapt as run_chain

    run.workspace.refuse_foreign()
    with run.workspace.lock(), shown():
        made = run_chain(run, until=until)
    if made is not None:
        show(run, made)


def show(run: Run, report: Mapping[str, Any]) -> None:
    """Print a report, and what to do next."""
    from acclimate.report import terminal

    print(terminal.text(report))
    if examples := terminal.examples(report):
        print(examples)
    print(f"Report: {run.workspace.folder / 'report.html'}")
    print(f'Search: acclimate search {run.workspace.folder} "your query"')


def stage_command(stage: str, function: Callable[..., Any]) -> Callable[..., None]:
    """A command that runs the chain up to a stage, with that stage's settings as options."""
    from acclimate.run.settings import settings_of

    settings = settings_of(function)

    def command(run_dir: Path, corpus: str | None = None, **values: str | None) -> None:
        from acclimate.run.settings import load_recipe, resolve
        from acclimate.stages.chain import STAGES

        given = {stage: {name: value for name, value in values.items() if value is not None}}
        if corpus is None:
            run = stored(run_dir, given)
        else:
            run = begin(run_dir, corpus, resolve(STAGES, load_recipe("quick"), given), recipe="quick", seed=0)
        go(run, until=stage)
        if stage == "filter":
            from acclimate.report.terminal import funnel

            print(funnel(read_json(run.folder("filter") / "manifest.json")))

    summary = (inspect.getdoc(function) or "").partition("\n\n")[0]
    command.__doc__ = f"{summary}\n\nRuns the stages before it too, as far as they are not made."
    kinds = inspect.Parameter
    option = Annotated[str | None, Parameter(help="Corpus, for a run that is not begun; see adapt.")]
    parameters = [
        kinds("run_dir", kinds.POSITIONAL_ONLY, annotation=Annotated[Folder, Parameter(help="Folder of the run.")]),
        kinds("corpus", kinds.KEYWORD_ONLY, default=None, annotation=option),
    ]
    for setting in settings.values():
        shown = ",".join(setting.default) if isinstance(setting.default, tuple) else setting.default
        values = f" Values: {setting.values}." if setting.domain else ""
        note = Parameter(help=f"{setting.help} Default: {shown}.{values}")
        parameters.append(kinds(setting.name, kinds.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, note]))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
