"""One function per stage, which runs the chain up to that stage, with the stage's settings as keyword arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from os import PathLike
from os.path import realpath
from typing import TYPE_CHECKING, Any, Protocol

from acclimate.api.adapt import run_until
from acclimate.api.run import Run
from acclimate.base.arguments import StrPath, run_folder
from acclimate.base.errors import SettingError
from acclimate.base.files import exists
from acclimate.base.progress import Shown
from acclimate.corpus import collections
from acclimate.run import description, in_memory
from acclimate.run.in_memory import Documents
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import resolve, settings_of
from acclimate.stages.chain import STAGES
from acclimate.stages.runs import load_run, new_run, resume_run

if TYPE_CHECKING:
    from acclimate.run.run import Run as StageRun

# What each stage does, from the first line of its function's docstring.
SUMMARIES = {stage: (inspect.getdoc(work) or "").partition("\n")[0] for stage, work in STAGES.items()}

_NO_PROMPT = """Traceback (most recent call last):
...
acclimate.base.errors.SettingError: seed is skipped: generate.prompt does not name adapted"""


class StageFunction(Protocol):
    """Runs a run up to a stage, with some of that stage's settings changed."""

    def __call__(
        self,
        folder: StrPath,
        *,
        corpus: StrPath | Documents | None = None,
        executor: str | None = None,
        progress: Shown = "auto",
        **settings: Any,
    ) -> Run: ...


_DOCSTRING = """{summary}

Continues the run in `folder` up to this stage: earlier stages that have not run yet are run first, and settings that
are not given keep the run's values. With a `corpus` the folder may be new. Returns the run; raises what `adapt` raises,
DataError for a folder without a run, and SettingError for one with a run of another corpus.

>>> acclimate.{stage}("run", progress=None)
{result}

Parameters
----------
folder
    Folder of the run.
corpus
    Documents to start a new run with, as for `adapt`.
executor
    Ray cluster to work on; see `adapt`.
progress
    As for `adapt`.
{settings}
"""


def _function(stage: str) -> StageFunction:
    work = STAGES[stage]

    def go_on(
        folder: StrPath,
        *,
        corpus: StrPath | Documents | None = None,
        executor: str | None = None,
        progress: Shown = "auto",
        **settings: Any,
    ) -> Run:
        path, changes = run_folder(folder), {stage: settings}
        name = None if corpus is None else in_memory.name_of(corpus, path)
        if name is None or exists(path / description.NAME):
            is_in_memory = corpus is not None and not isinstance(corpus, str | PathLike)
            run = (load_run if is_in_memory else resume_run)(path, changes)  # documents given again need no copy
            _check_same(run, name)
        else:
            chosen = resolve(STAGES, load_recipe("quick"), changes)
            run = new_run(path, name, chosen, recipe="quick", seed=0)
        return run_until(run, until=stage, progress=progress, executor=executor, corpus=corpus)

    go_on.__name__ = go_on.__qualname__ = stage
    go_on.__doc__ = _documentation(stage, work)
    go_on.__signature__ = _signature(go_on, work)  # type: ignore[attr-defined]
    return go_on


def _check_same(run: StageRun, name: str | None) -> None:
    """Raises SettingError if the corpus of that name is not the one of the existing run."""
    if name is not None and realpath(collections.located(name)) != realpath(run.input.source):
        raise SettingError(
            f"{run.workspace.folder} holds a run of {run.collection_name}; expected a new folder for "
            f"{name}, or no documents to continue this run"
        )


def _documentation(stage: str, work: Callable[..., Any]) -> str:
    helps = [f"{name}\n    {setting.help}" for name, setting in settings_of(work).items()]
    result = _NO_PROMPT if stage == "seed" else "Run('run')"
    return _DOCSTRING.format(summary=SUMMARIES[stage], stage=stage, result=result, settings="\n".join(helps))


def _signature(function: Callable[..., Any], work: Callable[..., Any]) -> inspect.Signature:
    """The parameters common to all stages, then the stage's settings; those not passed keep the run's values."""
    *common, _ = inspect.signature(function).parameters.values()
    settings = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=setting.default, annotation=setting.type)
        for name, setting in settings_of(work).items()
    ]
    return inspect.Signature([*common, *settings], return_annotation=Run)


index = _function("index")
sample = _function("sample")
seed = _function("seed")
steer = _function("steer")
generate = _function("generate")
filter = _function("filter")
mine = _function("mine")
train = _function("train")
label = _function("label")
distill = _function("distill")
evaluate = _function("evaluate")
