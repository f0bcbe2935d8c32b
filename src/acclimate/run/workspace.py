"""A run's folder, with one folder per stage whose manifest is written last.

A stage is up to date if its manifest has the fingerprint of its settings and of the content of its inputs. Otherwise it
is made again, and the reason is logged. A folder without manifest was interrupted: it is handed back to the stage if it
was begun from the same inputs, else emptied. The old version of a stage is set aside, and removed when the new one is
finished.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from acclimate.base import distributed, heap, locks
from acclimate.base.digests import fingerprint
from acclimate.base.disk import missing_file_errors, refuse_read_only, writing
from acclimate.base.errors import AcclimateError, DataError
from acclimate.base.files import exists, is_file, make_folder, read_state, sweep, tidied_above, write_json
from acclimate.base.progress import Progress, duration
from acclimate.base.text import command
from acclimate.base.version import __version__
from acclimate.run import lease, manifests, status
from acclimate.run.lease import Lease
from acclimate.run.output import Account, StageOutput

LOCK, RUN = ".lock", "run.json"
_REPLACED = ".replaced"  # suffix of a stage that is being replaced
_WORK = threading.RLock()  # one run at a time per process
_MARK = "acclimate\n"  # content of a run's lock file


class Workspace:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        place = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), Path())
        if not place.is_dir():
            what = "a file" if is_file(place) else "a broken link" if place.is_symlink() else "no file and no folder"
            raise AcclimateError(f"{place} is {what}; expected the folder of a run")
        self.folder = folder
        self.lease = Lease(folder)

    def refuse_foreign(self) -> None:
        """Raises AcclimateError for a folder that is neither empty nor a run: stages would overwrite its content."""
        if not self._is_own():
            raise AcclimateError(f"{self.folder} is not empty, and holds no run; choose a new folder, or empty it")

    def refuse_nothing(self) -> None:
        """Raises DataError for a folder without a run."""
        if not (self.folder / RUN).exists():
            run = next((path for path in self.folder.parents if (path / RUN).exists()), None)
            if run and self.folder.exists():
                raise DataError(f"is inside the run {run}; name that folder", path=self.folder)
            make = command("adapt", "CORPUS", "--out", self.folder)
            raise DataError(f"no run here; make one with: {make}", path=self.folder)

    def _is_own(self) -> bool:
        """True for a folder that holds a run, or nothing."""
        if not self.folder.is_dir():
            return True
        names, lock = {path.name for path in self.folder.iterdir()}, self.folder / LOCK
        return not names or (names == {LOCK} and not lock.stat().st_size) or self.is_run()

    def is_run(self) -> bool:
        """True for a folder that holds a run, finished or not."""
        for name, holds in (
            (LOCK, lambda text: text == _MARK),
            (RUN, lambda text: {"corpus", "recipe", "seed", "settings"} <= json.loads(text).keys()),
        ):
            try:
                if is_file(self.folder / name) and holds((self.folder / name).read_text(encoding="utf-8")):
                    return True
            except (OSError, ValueError, AttributeError, RecursionError):  # a file of another program
                continue
        return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Context that keeps other processes out of this folder.

        The lock ends with the process, and that of another machine's process some time after it, see `lease`. A folder
        created here in which nothing began is removed with its new parents: a mistyped name leaves nothing behind. Of a
        run's processes the first one holds the lock; threads of one process take turns, as seeds, logs and helpers are
        per process.
        """
        if not distributed.is_main():
            yield
            return
        with _WORK, tidied_above(self.folder), self._locked():
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        locks.check()
        refuse_read_only(self.folder)
        is_own, is_new = self._is_own(), not self.folder.exists()
        make_folder(self.folder)
        if exists(self.folder / LOCK) and not is_file(self.folder / LOCK):  # opening a pipe would block for ever
            raise DataError(
                "expected a file, so that no two commands work here at once; remove it", path=self.folder / LOCK
            )
        with (self.folder / LOCK).open("a+", encoding="utf-8") as handle:
            if not locks.lock(handle):
                raise AcclimateError(f"{self.folder} is in use by another acclimate process; wait for it or stop it")
            if is_own and not handle.tell():
                handle.write(_MARK)  # before any other file: a command that comes now has to find a run
                handle.flush()
            with self.lease.held(), missing_file_errors(self.folder):
                if is_own:
                    _sweep(self.folder)
                leftovers = {LOCK, lease.NAME}
                try:
                    yield
                except AcclimateError:
                    leftovers |= {"corpus", status.NAME, status.LOG}  # of no use if nothing began
                    raise
                finally:
                    if is_new and self.folder.is_dir() and {path.name for path in self.folder.iterdir()} <= leftovers:
                        shutil.rmtree(self.folder)

    def is_at_work(self) -> bool:
        """True while a command works here, as far as this machine can see."""
        path = self.folder / LOCK
        if not is_file(path):
            return False
        if locks.is_locked(path):
            return True
        holder = lease.read(self.folder / lease.NAME)
        return holder is not None and holder["machine"] != lease.machine() and self.lease.is_fresh()

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """The manifest of a finished stage, else None. Raises DataError for a damaged one."""
        return manifests.read(self.folder / stage)

    def usable_manifest(self, stage: str) -> dict[str, Any] | None:
        """The manifest of a finished stage; None also if it is damaged, so that the stage will be made again."""
        try:
            return self.manifest(stage)
        except DataError:
            return None

    def is_made(self, stage: str) -> bool:
        """True for a finished stage; False if its manifest is damaged."""
        return self.usable_manifest(stage) is not None

    def make(
        self,
        stage: str,
        run: Callable[[Path, Progress], Account],
        *,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str],
        seed: int,
        unit: str = "documents",
        together: bool = False,
        keeps: bool = False,
    ) -> StageOutput:
        """Load a stage if it is up to date, else make it by `run(folder, progress)`, which leaves files there.

        inputs: fingerprints of everything the stage reads. together: if the run has several processes, all call `run`;
        else the first does and shares out work. keeps: `run` reuses valid parts of an earlier folder itself, and
        removes the rest; folders with damaged files are always emptied.
        """
        if not distributed.is_main():
            return self._made_by_first(stage, run, together=together)
        folder = self.folder / stage
        recipe = {"stage": stage, "settings": plain(settings), "inputs": dict(inputs), "seed": seed}
        key = fingerprint(recipe, __version__)
        begun, aside = folder / "begun.json", self.folder / f".{stage}{_REPLACED}"
        manifest, reason = _finished(folder, recipe, key)
        if manifest is None and (replaced := _finished(aside, recipe, key))[0] and not replaced[1]:
            _remove(folder)  # its replacement was not finished, and is not needed
            shutil.move(aside, folder)
            manifest, reason = replaced
        if manifest is not None and not reason:
            distributed.broadcast(True)
            begun.unlink(missing_ok=True)  # remains if interrupted right after the manifest
            distributed.say(stage, f"made already: {_counts(manifest)}")
            return StageOutput(folder, manifest, resumed=True)
        if reason:
            distributed.say(stage, f"is made again: {reason}")
        if reason or not read_state(begun, key):
            is_damaged = bool(reason) and (manifest is None or manifests.damaged_file(folder, manifest) is not None)
            if keeps and not is_damaged:
                (folder / manifests.NAME).unlink(missing_ok=True)
            else:
                _set_aside(folder, aside if reason else None)
            make_folder(folder)
            write_json(begun, {"key": key})
        distributed.broadcast(False)
        progress = Progress(stage, unit, self.lease.check)
        started = time.monotonic()
        with writing(folder), nullcontext() if together else distributed.helped(), heap.releasing():
            account = run(folder, progress)
        self.lease.check()
        manifest = {
            **recipe,
            "fingerprint": key,
            "outputs": manifests.outputs(folder, begun),
            "in": account.read,
            "out": account.kept,
            "dropped": account.dropped,
            "tokens": account.tokens,
            "cost_usd": account.cost_usd,
            "notes": account.notes,
            "seconds": round(time.monotonic() - started, 3),
            "versions": manifests.versions(),
        }
        manifest = manifests.write(folder, manifest)
        begun.unlink()
        _remove(aside)
        distributed.broadcast(None)
        distributed.say(stage, f"{_counts(manifest)}   {duration(manifest['seconds'])}")
        return StageOutput(folder, manifest, resumed=False)

    def _made_by_first(self, stage: str, run: Callable[[Path, Progress], Account], *, together: bool) -> StageOutput:
        """The output of a stage that the first process makes, as seen by the others, which may help."""
        is_made = distributed.broadcast(False)
        if not is_made:
            with heap.releasing():
                if together:
                    run(self.folder / stage, Progress(stage, ""))
                distributed.help_first()
        manifest = self.manifest(stage)
        assert manifest is not None
        return StageOutput(self.folder / stage, manifest, resumed=is_made)


def _sweep(folder: Path) -> None:
    """Remove temporary files of a killed process, and replaced stages whose successors are finished."""
    sweep(folder)
    for aside in [*folder.rglob(f".*{_REPLACED}")]:
        if (aside.parent / aside.name.removeprefix(".").removesuffix(_REPLACED) / manifests.NAME).exists():
            _remove(aside)


def _set_aside(folder: Path, aside: Path | None) -> None:
    """Set a finished stage aside until its successor is finished; without `aside`, remove an interrupted one."""
    if aside is None:
        _remove(folder)
    else:
        _remove(aside)
        shutil.move(folder, aside)  # copies what is part of a container's image, whose folders cannot be renamed


def _remove(path: Path) -> None:
    """Remove a folder, if it exists; of a link only the link."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _finished(folder: Path, recipe: dict[str, Any], key: str) -> tuple[dict[str, Any] | None, str]:
    """The manifest of a finished stage, and the reason to make it again, if any."""
    try:
        manifest = manifests.read(folder)
    except DataError:
        return None, "its manifest is damaged"
    if manifest is None:
        return None, ""
    if manifest["fingerprint"] != key:
        return manifest, _difference(manifest, recipe)
    harmed = manifests.damaged_file(folder, manifest)
    return manifest, f"{harmed.relative_to(folder)} is not as it was made" if harmed else ""


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come back from JSON: tuples become lists."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


def _difference(manifest: dict[str, Any], recipe: dict[str, Any]) -> str:
    """What changed since a stage was made, in words."""
    changed = [
        f"{key} was {manifest['settings'].get(key)!r} and is {value!r}"
        for key, value in recipe["settings"].items()
        if manifest["settings"].get(key) != value
    ]
    before, now = manifest["inputs"], recipe["inputs"]
    changed += [f"{key} changed" for key in now | before if before.get(key) != now.get(key)]
    changed += ["the seed changed"] if manifest["seed"] != recipe["seed"] else []
    return "; ".join(changed) or f"it was made by acclimate {manifest['versions']['acclimate']}"


def _counts(manifest: dict[str, Any]) -> str:
    dropped = " · ".join(f"{reason} {count:,}" for reason, count in manifest["dropped"].items() if count)
    return f"read {manifest['in']:,}   kept {manifest['out']:,}" + (f"   dropped: {dropped}" if dropped else "")
