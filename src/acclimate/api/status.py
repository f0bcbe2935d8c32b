"""What a run is doing, or how it ended, read from its folder without disturbing it."""

from __future__ import annotations

from typing import NamedTuple

from acclimate.base.arguments import StrPath, path_text, run_folder
from acclimate.base.errors import DataError
from acclimate.base.progress import duration
from acclimate.base.text import command, on_one_line
from acclimate.run import status as kept
from acclimate.run.output import StageOutput
from acclimate.run.workspace import Workspace
from acclimate.stages import NAMES

KILLED = "killed"


class StageStatus(NamedTuple):
    """Status of a stage: `made`, `works` or `missing` (also if nothing reads it).

    >>> acclimate.status("run").stages[0][:2]
    ('index', 'made')
    """

    name: str
    state: str
    read: int = 0
    kept: int = 0
    seconds: float = 0.0


class Status(NamedTuple):
    """What a run is doing; `print` shows it in lines.

    state: `works`, `finished`, `stopped` (interrupted, or by a limit), `failed`, `killed` (without any sign), or "" if
    nothing is known. It is that of the last command: after one that made only some of the stages it is `finished`, and
    `message` names what is missing.

    >>> print(acclimate.status("run"))  # doctest: +ELLIPSIS
    run: ...
    index      read ...
    """

    folder: str
    state: str
    stages: list[StageStatus]
    stage: str = ""  # the current or last stage, and its progress
    done: int = 0
    total: int = 0
    unit: str = ""
    seconds_left: float | None = None
    message: str = ""  # how it ended, or what a finished command left to do
    host: str = ""
    pid: int = 0
    started: str = ""  # UTC
    updated: str = ""

    def __str__(self) -> str:
        where = f" (process {self.pid} on {self.host}, since {self.started})" if self.state == "works" else ""
        since = f" ({self.updated})" if self.updated and self.state not in ("works", "") else ""
        words = _PARTLY if self.state == kept.FINISHED and self.message else _WORDS[self.state]
        lines = [f"{self.folder}: {words}{where}{since}"]
        if self.message:
            lines.append(f"  {self.message}")
        for stage in self.stages:
            result = f"read {stage.read:,}   kept {stage.kept:,}   {duration(stage.seconds)}"
            lines.append(f"{stage.name:<10} {result if stage.state == 'made' else self._progress(stage)}")
        return "\n".join(on_one_line(line).rstrip() for line in lines)

    def _progress(self, stage: StageStatus) -> str:
        if stage.name != self.stage or not self.total:
            return "running" if stage.state == "works" else "-"
        left = f", {duration(self.seconds_left)} left" if self.seconds_left is not None else ""
        return f"{self.done:,} of {self.total:,} {self.unit}{left}"


_WORDS = {
    "works": "running",
    "finished": "finished",
    "stopped": "stopped; run the same command again to resume",
    "failed": "failed; fix the problem and run the same command again to resume",
    KILLED: "ended without a message, probably killed; run the same command again to resume",
    "": "not running",
}
_PARTLY = "the last command finished, the run did not"


def status(folder: StrPath) -> Status:
    """What the run in a folder is doing, or how it ended. Raises DataError for a folder without a run.

    >>> acclimate.status("run").state == "works"
    False
    """
    path, folder = run_folder(folder), path_text(folder, "folder")
    workspace = Workspace(path)
    if not workspace.is_run():
        workspace.refuse_nothing()
        from acclimate.stages.runs import load_run  # slow to import

        load_run(path)  # raises what is wrong with it
    row = kept.read(path) or {}
    state = row.get("state", "")
    if workspace.is_at_work():
        state = kept.WORKS
    elif state == kept.WORKS:
        state = KILLED
    fields = {name: row[name] for name in Status._fields if name in row and name not in ("state", "folder")}
    if state == kept.FINISHED:
        fields["message"] = _left_to_do(workspace)
    stages = [_stage(workspace, name, works=state == kept.WORKS and row.get("stage") == name) for name in NAMES]
    return Status(folder, state, stages, **fields)


def _left_to_do(workspace: Workspace) -> str:
    """Which of the stages behind `evaluate` is missing or outdated, and the command that goes on; empty if none is."""
    needed, again = {"evaluate"}, f"go on with: {command('evaluate', workspace.folder)}"
    for stage in reversed(NAMES):
        if stage not in needed:
            continue
        if (manifest := workspace.usable_manifest(stage)) is None:
            return f"the stage {stage} is not made yet; {again}"
        for name, made_from in manifest["inputs"].items():
            if name not in NAMES:
                continue
            needed.add(name)
            output = workspace.usable_manifest(name)
            if output and StageOutput(workspace.folder / name, output, resumed=True).fingerprint != made_from:
                return f"{stage} was made from other files of the stage {name} than those here now; {again}"
    return ""


def _stage(workspace: Workspace, name: str, *, works: bool) -> StageStatus:
    try:
        manifest = workspace.manifest(name)
    except DataError:
        manifest = None
    if works or manifest is None:
        return StageStatus(name, "works" if works else "missing")
    return StageStatus(name, "made", manifest["in"], manifest["out"], manifest["seconds"])
