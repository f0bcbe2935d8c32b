"""The commands that run the chain up to a stage, with options that are read from the stage's signature.

Each is put together, and the chain is loaded, when it is first asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

from cyclopts import App, Parameter

import acclimate
from acclimate.base.domains import AtLeast, OneOf
from acclimate.base.files import read_json
from acclimate.cli.options import Executor, Folder
from acclimate.run.settings import Setting, settings_of

SUMMARIES = {  # of each stage: the first line of its function's docstring
    "index": "Read the documents, and index them for BM25 and for vectors.",
    "sample": "Draw the documents that queries are written for.",
    "seed": "Make prompts from the corpus: an expensive LLM writes questions for a few of its documents (UDAPDR).",
    "generate": "Have an LLM write the queries that people might ask of each document drawn.",
    "filter": "Keep the synthetic queries that pass every filter.",
    "steer": (
        "Say what is relevant to the queries that choices are made on and, where nobody labelled any, that measure."
    ),
    "mine": "Find hard negatives for each query: documents that rank high and do not answer it.",
    "train": "Train the rerankers.",
    "label": "Choose the teacher, and let it rate the candidates of every synthetic query, and of those of a log.",
    "distill": "Train the students: retrievers that learn from the teacher's scores.",
    "evaluate": "Measure every system on the same queries, and say whether the candidate beats what people have.",
}
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
    print(f'Search: acclimate search {report.folder} "your query"')


def register(app: App) -> None:
    """Make a command of each stage, by name alone: see `__getattr__`."""
    for stage, summary in SUMMARIES.items():
        text = f"{summary}\n\nThe stages before it are made too, as far as they are not."
        app.command(f"{__name__}:{stage}", name=stage, help=text)


def __getattr__(stage: str) -> Callable[..., None]:
    """A command that runs the chain up to a stage, with that stage's settings as options."""
    if stage not in SUMMARIES:
        raise AttributeError(f"module {__name__!r} has no attribute {stage!r}")
    from acclimate.stages.chain import STAGES

    def command(run_dir: Folder, corpus: str | None = None, executor: str | None = None, **values: str | None) -> None:
        given = {name: value for name, value in values.items() if value is not None}
        run = getattr(acclimate, stage)(run_dir, corpus=corpus, executor=executor, **given)
        if stage == "filter":
            from acclimate.report import terminal  # which help does without

            print(terminal.funnel(read_json(run.folder / "filter" / "manifest.json")))
        if stage == "evaluate":
            show(run.report)

    kinds = inspect.Parameter
    run_dir = Annotated[Folder, Parameter(help="Folder of the run.", name="RUN-DIR")]
    corpus = Annotated[
        str | None, Parameter(help="Documents to begin a run with, as adapt takes them.", metavar="CORPUS")
    ]
    executor = Annotated[Executor, Parameter(help="A Ray cluster whose workers do what adapt says of it.")]
    parameters = [
        kinds("run_dir", kinds.POSITIONAL_ONLY, annotation=run_dir),
        kinds("corpus", kinds.KEYWORD_ONLY, default=None, annotation=corpus),
        kinds("executor", kinds.KEYWORD_ONLY, default=None, annotation=executor),
    ]
    for setting in settings_of(STAGES[stage]).values():
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
