"""Create, resume and open runs by their folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_type_hints

from acclimate.base import distributed
from acclimate.base.database import refuse_long_path
from acclimate.base.errors import DataError, SettingError
from acclimate.base.text import command, quoted
from acclimate.base.version import __version__
from acclimate.corpus import collections
from acclimate.corpus.documents import Corpus
from acclimate.run import description, lease, manifests
from acclimate.run.input import CorpusFiles
from acclimate.run.output import StageOutput
from acclimate.run.provided import NOTHING, Provided
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.settings import Changes
from acclimate.run.updated import LastUpdate
from acclimate.run.workspace import Workspace
from acclimate.stages import token_vectors
from acclimate.stages.chain import STAGES, Outputs
from acclimate.stages.skipped import SKIPPED, skipped
from acclimate.stages.steer import Steered

_OUTPUT_TYPES: tuple[type[StageOutput], ...] = tuple(get_type_hints(Outputs).values())


class StagesChanged(DataError):
    """The stages of an opened run were made again, or removed, while they were read."""

    def __init__(self, folder: Path) -> None:
        what = f"its stages are being rebuilt; try again when that is done, see {command('status', folder)}"
        super().__init__(what if folder.is_dir() else "was moved or removed while it was read", path=folder)


class EarlierVersion(DataError):
    """A run of an earlier version was asked for what its measurements lack; it only searches and updates."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            "measured by an earlier version, on other queries or against another baseline; measure again, with "
            f"documents sampled as in this version: {command('evaluate', folder)}",
            path=folder / "evaluate",
        )


class _OfEarlierVersion(dict[str, StageOutput]):
    """Stages of an earlier version, which had fewer."""

    def __init__(self, outputs: Mapping[str, StageOutput], folder: Path) -> None:
        super().__init__(outputs)
        self._folder = folder

    def __missing__(self, stage: str) -> StageOutput:
        raise EarlierVersion(self._folder)


def new_run(
    out: Path,
    corpus: str,
    settings: dict[str, dict[str, Any]],
    *,
    recipe: str,
    seed: int,
    provided: Provided = NOTHING,
) -> Run:
    """Create a run in `out`.

    Raises SettingError if that is inside the corpus, or if a name is not UTF-8, and DataError for too long a path.
    """
    if not corpus:
        raise SettingError(f"CORPUS is empty; expected {collections.EXPECTED}")
    if corpus != collections.BUILT_IN and Path(corpus).is_dir():
        _refuse_inside(out, Path(corpus))
    run = Run(Workspace(out), token_vectors.without_token_vectors(settings, STAGES), seed, corpus, provided, recipe)
    for path in (
        str(out.absolute()),
        collections.located(corpus),
        recipe,
        *(value for value in provided.as_json().values() if value),
    ):
        if not path.isascii() and path.encode(errors="replace").decode() != path:  # cannot be written to run.json
            raise SettingError(f"{quoted(path)} is not UTF-8; expected names of folders and files that are")
    refuse_long_path(out / "completions.sqlite")
    run.workspace.refuse_foreign()
    return run


def _refuse_inside(out: Path, corpus: Path) -> None:
    """Raises SettingError for a corpus that contains the run's folder."""
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(corpus)):
        raise SettingError(
            f"{out} is inside {corpus}, so the run would become part of the corpus; choose another folder"
        )


def resume_run(folder: Path, changes: Changes = ()) -> Run:
    """Load a run to go on with, with some settings changed; if its source is gone, from the documents it stored.

    Raises DataError for a folder without a run.
    """
    run = load_run(folder, changes)
    missing = run.input.missing
    if missing and (index := run.workspace.usable_manifest("index")):
        distributed.say("corpus", f"{missing} no longer exists; continuing with the run's own copy")
        run.input.kept = CorpusFiles(CorpusFiles(**index["notes"]["kept"]).documents)
    return run


def open_run(folder: Path, until: str) -> tuple[Run, Outputs]:
    """Load a run to read: its stages up to `until`, with the settings, seed and documents they were made with.

    Reads nothing outside the folder but models. Raises DataError for a folder without a run, and for a stage that is
    missing or damaged; StagesChanged while another process is making stages.
    """
    try:
        run = load_run(folder)
        outputs = read_outputs(run, until)
    except (DataError, OSError) as error:
        if isinstance(error, FileNotFoundError) or _is_being_made(folder):
            raise StagesChanged(folder) from error
        raise
    by_stage = {output.name: output.manifest for output in _in_order(outputs)}
    for stage, manifest in by_stage.items():
        run.settings[stage] |= _known(manifest["settings"], run.settings[stage])
    run.seed = by_stage[until]["seed"]
    run.kept = outputs["index"].kept
    return run, outputs


def read_outputs(run: Run, until: str) -> Outputs:
    """Read the stages of a run up to `until` from its folder, without making any.

    Raises DataError when one is missing or damaged, or was made from inputs other than the current ones.
    """
    folder, outputs = run.workspace.folder, dict[str, StageOutput]()
    last = next(run.output(kind) for kind in _OUTPUT_TYPES if kind.stage == until)
    again, reads = f"go on with: {command(until, folder)}", _stages_read_by(run, last)
    for kind in _OUTPUT_TYPES:
        if kind.stage in SKIPPED and kind.stage not in reads:
            continue
        if kind is Steered and until == "evaluate" and last and kind.stage not in last.manifest["inputs"]:
            outputs = _OfEarlierVersion(outputs, folder)  # without this stage: it searches as it was made
            continue
        output = run.output(kind)
        if output is None:
            raise DataError(f"this run is not finished: the stage {kind.stage} is not made yet; {again}", path=folder)
        manifests.check(folder / kind.stage, output.manifest)
        outputs[kind.stage] = output
        if changed := _changed_input(outputs, output):
            raise DataError(f"{kind.stage} was made from {changed} than those here now; {again}", path=folder)
        if kind.stage == until:
            break
    return cast(Outputs, outputs)


def _stages_read_by(run: Run, last: StageOutput | None) -> set[str]:
    """The stages that `last` was made from, directly or not.

    Manifests decide, not the current settings; these do only if `last` was never made.
    """
    if last is None:
        return STAGES.keys() - skipped(run).keys()
    reads = {last.stage, *(["seed"] if run.seeds_prompts else [])}
    for kind in reversed(_OUTPUT_TYPES):
        if kind.stage in reads and (output := run.output(kind)):
            reads |= output.manifest["inputs"].keys()
    return reads


def _changed_input(outputs: Mapping[str, StageOutput], output: StageOutput) -> str:
    """Which input of a stage has changed since it was made, in words; empty if none."""
    inputs, indexed = output.manifest["inputs"], outputs["index"].manifest["inputs"][DOCUMENTS]
    if inputs.get(DOCUMENTS, indexed) != indexed:
        return "other documents or passages"
    for name, fingerprint in inputs.items():
        if name in outputs and outputs[name].fingerprint != fingerprint:
            return f"other files of the stage {name}"
    return ""


@contextmanager
def reading(run: Run, outputs: Outputs, *, loads: bool = True) -> Iterator[None]:
    """Context in which files of an opened run are read.

    Raises StagesChanged on exit if the run's stages have changed or disappeared: what was read may mix old and new, and
    errors of libraries may come from that.

    loads: False if all files are already in memory or mapped, so that later changes do not matter.
    """
    try:
        yield
    except Exception as error:
        if not _is_as_opened(run, outputs):
            raise StagesChanged(run.workspace.folder) from error
        raise
    if loads and not _is_as_opened(run, outputs):
        raise StagesChanged(run.workspace.folder)


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
        return holder is not None and not lease.is_own(holder) and Workspace(folder).is_at_work()
    except (DataError, OSError):
        return False


def open_latest(folder: Path) -> tuple[Run, Outputs]:
    """Load a finished run to search, with the documents of its last update, if any.

    An update from before stages were made again is ignored, with a log message unless they were made of its documents.
    """
    run, outputs = open_run(folder, "evaluate")
    if (update := LastUpdate.read(folder)) is None:
        return run, outputs
    if update.facts["made_of"] != index_fingerprints(outputs):
        updated = run.input.folder / update.kept.documents
        if not updated.is_file() or Corpus.open(updated).fingerprint != run.input.documents.fingerprint:
            again = command("update", folder, "NEWDOCS")
            distributed.say("update", f"stages were made again since the last update; to search its documents: {again}")
        return run, outputs
    run.updated_folder, run.kept = update.folder, update.kept
    return run, outputs


def index_fingerprints(outputs: Outputs) -> dict[str, str]:
    """Fingerprints of the stages that an update builds on: index and distill."""
    return {output.name: output.fingerprint for output in _in_order(outputs) if output.name in ("index", "distill")}


def outdated(run: Run, outputs: Outputs) -> list[str]:
    """How the stages of an opened run differ from what the same command would make today, one line each."""
    wanted = load_run(run.workspace.folder)
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
    """A manifest's settings as a run holds them: lists become tuples, unknown settings are dropped."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items() if key in known}


def load_run(folder: Path, changes: Changes = ()) -> Run:
    """Load the run described by a folder's `run.json`, finished or not. Raises DataError if there is none."""
    run = description.read(folder, STAGES, changes)
    run.settings = token_vectors.without_token_vectors(run.settings, STAGES)
    return run
