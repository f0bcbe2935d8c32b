"""A run's folder: one folder per stage, its manifest written last.

A stage is made when its folder holds a manifest with the fingerprint of its settings and of the content of its inputs.
A folder with another fingerprint is made again, and the reason is said; one without a manifest was interrupted, and is
handed back to the stage as it is if it was begun from the same inputs, else emptied.
"""

from __future__ import annotations

import io
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from acclimate import __version__, distributed
from acclimate.errors import AcclimateError
from acclimate.files import fingerprint, read_json, sha256, write_json
from acclimate.progress import Progress, duration

_LIBRARIES = "torch transformers sentence-transformers bm25s ir-measures numpy scikit-learn datasketch".split()


@dataclass
class Account:
    """What a stage reports of itself; the workspace adds the rest."""

    read: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # reason -> count
    tokens: dict[str, int] = field(default_factory=dict)  # "prompt", "completion"
    cost_usd: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)  # whatever else a reader should know, JSON-able


@dataclass(frozen=True)
class Made:
    """A finished stage."""

    name: str
    folder: Path
    manifest: dict[str, Any]
    resumed: bool

    @property
    def fingerprint(self) -> str:
        """Of what it made, not of how: a stage that comes to the same bytes leaves later ones as they are."""
        return fingerprint(self.manifest["outputs"])

    @property
    def notes(self) -> dict[str, Any]:
        return self.manifest["notes"]


class Workspace:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise AcclimateError(f"{folder} is a file; expected a folder to write to")
        self.folder = folder

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second process out of this folder. The lock goes with the process, however that ends.

        A folder that was made here and stayed empty goes too: a mistyped corpus leaves nothing behind. Of several
        processes of one run the first one holds it.
        """
        import fcntl

        if not distributed.is_main():
            yield
            return

        is_new = not self.folder.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise AcclimateError(f"{self.folder} is in use by another acclimate; wait for it or stop it") from None
            _sweep(self.folder)
            try:
                yield
            finally:
                if is_new and [path.name for path in self.folder.iterdir()] == [".lock"]:
                    (self.folder / ".lock").unlink()
                    self.folder.rmdir()

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """The manifest of a finished stage, else None."""
        path = self.folder / stage / "manifest.json"
        return read_json(path) if path.exists() else None

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
    ) -> Made:
        """The stage's result, from its folder if it is made, else by `run(folder, progress)`.

        `inputs` are the fingerprints of everything that is read. Files that `run` leaves in the folder are its result.
        together: where the run has several processes, all of them call `run`; else the others wait for the first.
        keeps: `run` knows itself which of the files that it finds are still good, and removes the others.
        """
        if not distributed.is_main():
            return self._followed(stage, run, together=together)
        folder = self.folder / stage
        recipe = {"stage": stage, "settings": _plain(settings), "inputs": dict(inputs), "seed": seed}
        key = fingerprint(recipe, __version__)
        manifest = self.manifest(stage)
        begun = folder / "begun.json"
        is_made = manifest is not None and manifest["fingerprint"] == key and _is_whole(folder, manifest)
        if is_made and manifest is not None:
            distributed.told(True)
            begun.unlink(missing_ok=True)  # still there if the end came right after the manifest
            _say(f"{stage:<10} made already: {_counts(manifest)}")
            return Made(stage, folder, manifest, resumed=True)
        if manifest is not None:
            _say(f"{stage:<10} is made again: {_difference(manifest, recipe)}")
        if manifest is not None or not begun.exists() or read_json(begun) != key:
            (folder / "manifest.json").unlink(missing_ok=True)
            if not keeps:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            write_json(begun, key)

        distributed.told(False)
        progress = Progress(stage, unit)
        started = time.monotonic()
        account = run(folder, progress)
        progress.end()
        outputs = {
            path.relative_to(folder).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path != begun
        }
        manifest = {
            **recipe,
            "fingerprint": key,
            "outputs": outputs,
            "in": account.read,
            "out": account.kept,
            "dropped": account.dropped,
            "tokens": account.tokens,
            "cost_usd": account.cost_usd,
            "notes": account.notes,
            "seconds": round(time.monotonic() - started, 3),
            "versions": versions(),
        }
        write_json(folder / "manifest.json", manifest)
        begun.unlink()
        distributed.told(None)
        _say(f"{stage:<10} {_counts(manifest)}   {duration(manifest['seconds'])}")
        return Made(stage, folder, manifest, resumed=False)

    def _followed(self, stage: str, run: Callable[[Path, Progress], Account], *, together: bool) -> Made:
        """The result of a stage that the first process makes, with the help of this one or without."""
        is_made = distributed.told(False)
        if not is_made:
            if together:
                run(self.folder / stage, Progress(stage, "", stream=io.StringIO()))
            distributed.told(None)
        manifest = self.manifest(stage)
        assert manifest is not None
        return Made(stage, self.folder / stage, manifest, resumed=is_made)


def _sweep(folder: Path) -> None:
    """Remove what a killed process was writing: it would pass for a result."""
    for path in folder.rglob(".*.part"):
        path.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """What this result was made with."""
    found = {"acclimate": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _is_whole(folder: Path, manifest: dict[str, Any]) -> bool:
    return all(
        (folder / name).is_file() and (folder / name).stat().st_size == output["bytes"]
        for name, output in manifest["outputs"].items()
    )


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON will give them back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


def _difference(manifest: dict[str, Any], recipe: dict[str, Any]) -> str:
    """What changed since a stage was made, in words."""
    changed = [
        f"{key} was {manifest['settings'].get(key)!r} and is {value!r}"
        for key, value in recipe["settings"].items()
        if manifest["settings"].get(key) != value
    ]
    changed += [f"{key} changed" for key, value in recipe["inputs"].items() if manifest["inputs"].get(key) != value]
    changed += ["the seed changed"] if manifest["seed"] != recipe["seed"] else []
    return "; ".join(changed) or "its files or acclimate's version changed"


def _counts(manifest: dict[str, Any]) -> str:
    dropped = " · ".join(f"{reason} {count:,}" for reason, count in manifest["dropped"].items() if count)
    return f"read {manifest['in']:,}   kept {manifest['out']:,}" + (f"   dropped: {dropped}" if dropped else "")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
