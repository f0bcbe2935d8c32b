"""Export a finished run to a folder in another format: written beside it, renamed when whole, the manifest last.

A repeated command does nothing; one that was killed goes on with the files that are finished. An export is made again
when its run has changed; a folder that holds anything else is refused.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from acclimate.base import distributed, locks
from acclimate.base.digests import fingerprint
from acclimate.base.disk import writing
from acclimate.base.errors import AcclimateError, DataError, SettingError
from acclimate.base.files import make_folder, read_state, sweep, write_json
from acclimate.base.text import counted
from acclimate.base.version import __version__
from acclimate.deploy.exports.formats import Format, named
from acclimate.deploy.exports.source import Source
from acclimate.run import manifests
from acclimate.run.run import Run
from acclimate.stages.chain import Outputs
from acclimate.stages.runs import reading

_BEGUN, _LOCK = "begun.json", ".lock"
_STAGES = "index", "distill", "evaluate"  # stages whose outputs an export depends on


@dataclass(frozen=True)
class Exported:
    """A finished export: its folder, and the manifest in it.

    >>> exported = acclimate.open("run").export("sqlite", "exported", system="bm25")
    >>> exported
    <Exported 'exported': bm25 as sqlite>
    >>> exported.counts["documents"], exported.manifest["notes"]["check"]["overlap"]
    (40, 1.0)
    """

    folder: Path
    manifest: dict[str, Any]
    was_there: bool  # the same export existed already

    @property
    def counts(self) -> dict[str, int]:
        """Counts by kind (documents, vectors, ...), read back from the files."""
        return self.manifest["counts"]

    def __repr__(self) -> str:
        return f"<Exported {str(self.folder)!r}: {self.manifest['system']} as {self.manifest['format']}>"

    def __str__(self) -> str:
        by_what = sorted(self.counts.items(), key=lambda count: (count[0] != "documents", count))
        counts = ", ".join(f"{count:,} {what}" for what, count in by_what)
        size = sum(output["bytes"] for output in self.manifest["outputs"].values()) / 1e6
        first = f"{self.manifest['system']} as {self.manifest['format']}: {counts}; {self.folder}, {size:,.1f} MB"
        return "\n".join([first, *self.manifest.get("loaded", self.manifest)["lines"]])


def export(
    run: Run, outputs: Outputs, format_name: str, out: Path | None, system: str | None, url: str | None
) -> Exported:
    """Write a system of a finished run as `format_name` into `out`, by default the run's `exports/FORMAT`.

    url: a server to load it into. Raises SettingError for an unknown format or system, and for a url if the format has
    no server; AcclimateError if `out` holds something else; DataError if the counts read back differ from the run's.
    """
    form = named(format_name)
    if url is not None and form.load is None:
        raise SettingError(f"{form.name} takes no --url; leave it out: the export says how it is loaded")
    source = Source.of(run, outputs, system)
    if source.name.is_reranked and not form.takes_reranker:
        distributed.say(
            "export", f"{source.name} is exported without its reranker, which no engine runs; export the model with hf"
        )
        source = replace(source, name=source.name.first)
    if source.name.has_feedback:
        distributed.say("export", f"{source.name} is exported without feedback, as no engine searches twice")
        source = replace(source, name=source.name.origin)
    out = out or run.workspace.folder / "exports" / form.name
    facts = {"format": form.name, "system": str(source.name)}
    made_of = {stage: output.fingerprint for stage in _STAGES if (output := outputs.get(stage))}
    # No format has options any more; the key stays so that exports of earlier versions are recognized.
    documents = {"documents": source.corpus.fingerprint, "order of the documents": source.corpus.ids.fingerprint}
    recipe = {**facts, "options": {}, "made_of": {**made_of, **documents}}
    key = fingerprint(recipe, __version__)
    _refuse_other(out, facts)
    manifest, was_there = _finished(out, key), True
    if manifest is None:
        place = Path(os.path.realpath(out))  # `out` may be a link
        _refuse_to_lose(place)
        if Path.cwd().is_relative_to(place):
            raise AcclimateError(
                f"{out} is the current folder, which would be replaced; run the command from another folder"
            )
        with _run_lock(run, place), _beside(place) as folder:
            with reading(run, outputs):
                manifest, was_there = _written(source, form, folder, {**recipe, "fingerprint": key}), False
            shutil.rmtree(place, ignore_errors=True)
            folder.replace(place)
    if url is not None and form.load is not None:
        manifest = manifests.write(out, {**manifest, "loaded": form.load(source, out, url=url)})
    return Exported(out, manifest, was_there)


def _written(source: Source, form: Format, folder: Path, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Write an export into `folder`, resuming an interrupted one of the same fingerprint; returns its manifest."""
    if not read_state(folder / _BEGUN, recipe["fingerprint"]):
        for path in folder.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        write_json(folder / _BEGUN, {"key": recipe["fingerprint"]})
    sweep(folder)
    started = time.monotonic()
    with writing(folder):
        result = form.write(source, folder)
    counts, n_docs = result.counts, len(source.corpus)
    if counts.get("documents", n_docs) != n_docs:
        raise DataError(
            f"{counted(counts['documents'], 'document')} can be read back; the run has {n_docs:,}", path=folder
        )
    if "documents" in counts and source.run.input.parents:
        counts = {**counts, "documents": len(source.run.input.documents), "passages": n_docs}
    (folder / _BEGUN).unlink()
    (folder / _LOCK).unlink()
    return manifests.write(
        folder,
        {
            **recipe,
            "counts": counts,
            "notes": result.notes,
            "lines": result.lines,
            "outputs": manifests.outputs(folder),
            "seconds": round(time.monotonic() - started, 3),
            "versions": manifests.versions(),
        },
    )


def _finished(out: Path, key: str) -> dict[str, Any] | None:
    """The manifest of this export; None if it is missing, of another export, or its files have changed."""
    manifest = _manifest(out)
    return (
        manifest if manifest and manifest["fingerprint"] == key and not manifests.damaged_file(out, manifest) else None
    )


def _manifest(out: Path) -> dict[str, Any] | None:
    try:
        manifest = manifests.read(out)
    except DataError:  # damaged, or a stage's
        return None
    return manifest if manifest and {"format", "system", "options", "counts", "lines"} <= manifest.keys() else None


def _refuse_other(out: Path, facts: Mapping[str, Any]) -> None:
    """Raise AcclimateError if `out` holds anything but an export of the same format and system."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise AcclimateError(f"{out} is a file; expected a folder to write to")
    if (manifest := _manifest(out)) is None:
        raise AcclimateError(f"{out} is not empty, and its content is not an export; choose a new folder, or empty it")
    if any(manifest[name] != value for name, value in facts.items()):
        raise AcclimateError(
            f"{out} holds {manifest['system']} as {manifest['format']}; choose another folder with --out"
        )


def _refuse_to_lose(out: Path) -> None:
    """Raise AcclimateError if an export to be replaced holds a file that is not part of it."""
    known = {manifests.NAME, *(_manifest(out) or {"outputs": ()})["outputs"]}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        if path.is_file() and name.as_posix() not in known and "__pycache__" not in name.parts:
            raise AcclimateError(
                f"{out} holds {name.as_posix()}, which is no part of an export and would be removed; move it or choose "
                "another folder with --out"
            )


def _run_lock(run: Run, place: Path) -> AbstractContextManager[None]:
    """The run's lock, if the export lies inside its folder, where other commands would sweep up its partial files."""
    is_inside = place.is_relative_to(os.path.realpath(run.workspace.folder))
    return run.workspace.lock() if is_inside else nullcontext()


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write to, locked by this process; it remains if the work ends early and wrote a file."""
    folder = out.with_name(f".{out.name}.export")
    make_folder(folder)
    with (folder / _LOCK).open("a", encoding="utf-8") as handle:
        if not locks.lock(handle):
            raise AcclimateError(f"{out} is being written by another acclimate process; wait for it or stop it")
        try:
            yield folder
        except BaseException:
            if not any(path.is_file() and path.name not in (_BEGUN, _LOCK) for path in folder.rglob("*")):
                shutil.rmtree(folder, ignore_errors=True)
            raise
