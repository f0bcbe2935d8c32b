"""Runs by their folders: one that begins, one to go on with, and one to read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from acclimate.base import distributed
from acclimate.base.errors import DataError, SettingError
from acclimate.base.text import command, quoted
from acclimate.base.version import __version__
from acclimate.corpus import collections
from acclimate.run import description, lease, manifests
from acclimate.run.given import NOTHING, Given
from acclimate.run.input import Kept
from acclimate.run.output import StageOutput
from acclimate.run.run import Run
from acclimate.run.settings import Changes
from acclimate.run.updated import LastUpdate
from acclimate.run.workspace import Workspace
from acclimate.stages import token_vectors
from acclimate.stages.chain import STAGES, Outputs, finished


class MadeAgain(DataError):
    """Stages that were read are others now, or gone."""

    def __init__(self, folder: Path) -> None:
        what = f"its stages are being rebuilt; try again when that is done, see {command('status', folder)} says"
        super().__init__(what if folder.is_dir() else "was moved or removed while it was read", path=folder)


def begin(
    out: Path,
    corpus: str,
    settings: dict[str, dict[str, Any]],
    *,
    recipe: str,
    seed: int,
    given: Given = NOTHING,
) -> Run:
    """A run that is to be in `out`. Raises SettingError where that is inside the corpus, and for names in no UTF-8."""
    if not corpus:
        raise SettingError(f"CORPUS is empty; expected {collections.EXPECTED}")
    if corpus != collections.BUILT_IN and Path(corpus).is_dir():
        _refuse_runs(out, Path(corpus))
    run = Run(Workspace(out), token_vectors.left_out(settings, STAGES), seed, corpus, given, recipe)
    for path in (str(out.absolute()), collections.located(corpus), recipe, *filter(None, given.as_json().values())):
        if not path.isascii() and path.encode(errors="replace").decode() != path:  # run.json could not name it
            raise SettingError(f"{quoted(path)} is not UTF-8; expected names of folders and files that are")
    run.workspace.refuse_foreign()
    return run


def _refuse_runs(out: Path, corpus: Path) -> None:
    """Raises SettingError for a corpus that is a run, or that this run would become a part of."""
    if Workspace(corpus).is_run():
        raise SettingError(f"{corpus} is a run; expected the documents that it was made from, or others")
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(corpus)):
        raise SettingError(f"{out} is inside {corpus}, so the run would become part of the corpus; choose it elsewhere")


def stored(folder: Path, changes: Changes = ()) -> Run:
    """The run that a folder holds, to go on with, with some settings changed. Where its source is gone it goes on with
    the documents that it keeps. Raises DataError for a folder without a run.
    """
    run = described(folder, changes)
    missing = run.input.missing
    if missing and run.workspace.is_made("index") and (index := run.workspace.manifest("index")):
        distributed.say("corpus", f"{missing} no longer exists; continuing with the run's own copy")
        run.input.kept = Kept(Kept(**index["notes"]["kept"]).documents)
    return run


def opened(folder: Path, until: str) -> tuple[Run, Outputs]:
    """The run that a folder holds, to read, and its stages up to `until`: with the settings and the seed that
    these were made with, and the documents that were indexed. Nothing is read from outside the folder but models.

    Raises DataError for a folder without a run, for a stage that is not made or damaged; MadeAgain where another
    process makes stages.
    """
    try:
        run = described(folder)
        outputs = finished(run, until)
    except (DataError, OSError) as error:
        if isinstance(error, FileNotFoundError) or _is_being_made(folder):
            raise MadeAgain(folder) from error
        raise
    by_stage = {output.name: output.manifest for output in _in_order(outputs)}
    for stage, manifest in by_stage.items():
        run.settings[stage] |= _known(manifest["settings"], run.settings[stage])
    run.seed = by_stage[until]["seed"]
    run.kept = outputs["index"].kept
    return run, outputs


@contextmanager
def reading(run: Run, outputs: Outputs, *, loads: bool = True) -> Iterator[None]:
    """Within it files of an opened run are read. Raises MadeAgain where its stages are others by the end, or gone: what
    was read may be of both, and libraries make any error of files that vanish.

    loads: False where all is in memory, or mapped, already: then it does not matter what became of the files.
    """
    try:
        yield
    except Exception as error:
        if not _is_as_opened(run, outputs):
            raise MadeAgain(run.workspace.folder) from error
        raise
    if loads and not _is_as_opened(run, outputs):
        raise MadeAgain(run.workspace.folder)


def _is_as_opened(run: Run, outputs: Outputs) -> bool:
    try:
        same = all(manifests.read(output.folder) == output.manifest for output in _in_order(outputs))
    except (DataError, OSError):
        return False
    return same and (run.updated_folder is None or run.updated_folder.is_dir())


def _is_being_made(folder: Path) -> bool:
    """True while another process works in the folder."""
    holder = lease.read(folder / lease.NAME)
    try:
        return holder is not None and holder["pid"] != os.getpid() and Workspace(folder).is_at_work()
    except (DataError, OSError):
        return False


def current(folder: Path) -> tuple[Run, Outputs]:
    """A finished run to search: as `opened` gives it, with the documents of its last update where there was one.

    An update of stages that were made again since is passed over, which is said.
    """
    run, outputs = opened(folder, "evaluate")
    if (update := LastUpdate.read(folder)) is None:
        return run, outputs
    if update.facts["made_of"] != made_of(outputs):
        distributed.say("update", "stages were made again since the last update, whose documents are not searched")
        return run, outputs
    run.updated_folder, run.kept = update.folder, update.kept
    return run, outputs


def made_of(outputs: Outputs) -> dict[str, str]:
    """What an update is made of, beside documents: the fingerprints of the stages that index."""
    return {output.name: output.fingerprint for output in _in_order(outputs) if output.name in ("index", "distill")}


def outdated(run: Run, outputs: Outputs) -> list[str]:
    """In what the stages of an opened run are not what the same command would make today, a line for each."""
    wanted = described(run.workspace.folder)
    lines: list[str] = []
    for output in _in_order(outputs):
        stage, seed, version = output.name, output.manifest["seed"], output.manifest["versions"]["acclimate"]
        if version != __version__:
            lines.append(f"{stage} was made by acclimate {version}, and this is {__version__}")
        for name, value in run.settings[stage].items():
            now = wanted.settings[stage][name]
            if value != now:
                lines.append(f"{stage} was made with {stage}.{name}={value}; the run's settings say {now}")
        if seed != wanted.seed:
            lines.append(f"{stage} was made with the seed {seed}; the run's is {wanted.seed}")
    return lines


def _in_order(outputs: Outputs) -> list[StageOutput]:
    return cast(list[StageOutput], list(outputs.values()))


def _known(settings: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's settings as they are in a run: JSON has no tuples, and an earlier version may have had others."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items() if key in known}


def described(folder: Path, changes: Changes = ()) -> Run:
    """The run that a folder's `run.json` describes, however far it came. Raises DataError where there is none."""
    run = description.read(folder, STAGES, changes)
    run.settings = token_vectors.left_out(run.settings, STAGES)
    return run
