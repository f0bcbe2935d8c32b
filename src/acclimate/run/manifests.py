"""Stage manifests, written last: how a stage was made, from which inputs, and the digest of each output file.

A manifest carries a checksum, so damage is detected and reported. Values that depend on timing are excluded from it:
the same inputs give the same checksum.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from acclimate.base.digests import changed, fingerprint, sha256
from acclimate.base.errors import DataError
from acclimate.base.files import read_json, write_json
from acclimate.base.text import command
from acclimate.base.version import __version__

NAME = "manifest.json"
_LIBRARIES = "torch transformers sentence-transformers bm25s ir-measures numpy scikit-learn datasketch".split()
_CHECKSUM = "checksum"
_UNSUMMED = (_CHECKSUM, "seconds", "outputs")  # outputs include measured latencies, whose digests vary


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished stage, else None; an empty file, as a power failure may leave, counts as none.

    Raises DataError for a damaged one.
    """
    path = folder / NAME
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return None
    try:
        manifest = read_json(path)
    except DataError as error:
        raise _again(folder, str(error)) from None
    if not isinstance(manifest, dict) or manifest.get(_CHECKSUM) != _checksum(manifest) or not _has_the_rest(manifest):
        raise _again(folder, f"{path}: damaged, or written by an earlier version")
    return manifest


def _again(folder: Path, what: str) -> DataError:
    return DataError(f"{what}; make it again with: {command(folder.name, folder.parent)}")


def write(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest of a stage; returns it as it will be read."""
    plain = json.loads(json.dumps(manifest))
    plain[_CHECKSUM] = _checksum(plain)
    write_json(folder / NAME, plain)
    return plain


def outputs(folder: Path, *besides: Path) -> dict[str, dict[str, Any]]:
    """Digest and size of each file of a stage, except its manifest and `besides`."""
    return {
        path.relative_to(folder).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path not in (folder / NAME, *besides)
    }


def damaged_file(folder: Path, manifest: Mapping[str, Any]) -> Path | None:
    """The first file of a finished stage that differs from its manifest; None if all match."""
    return damaged_output(folder, manifest["outputs"], folder / NAME)


def damaged_output(folder: Path, outputs: Mapping[str, Mapping[str, Any]], record: Path) -> Path | None:
    """The first file in the folder that differs from `outputs`, which the file `record` holds; None if all match."""
    files = {folder / name: output for name, output in outputs.items()}
    for path, output in files.items():
        if not path.is_file() or path.stat().st_size != output["bytes"]:
            return path
    return changed({path: output["sha256"] for path, output in files.items()}, record)


def check(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raises DataError if a finished stage's files differ from its manifest."""
    if path := damaged_file(folder, manifest):
        raise _again(folder, f"{path}: not as {folder.name} made it")


def versions() -> dict[str, str]:
    """Versions of Python, acclimate and the libraries that results depend on."""
    ours = {"acclimate": __version__, "python": platform.python_version(), "machine": platform.machine()}
    return {**ours, **_libraries()}


@cache
def _libraries() -> dict[str, str]:
    """Versions of installed libraries, each read from its own metadata file."""
    from importlib import metadata  # slow to import: brings the email parser

    versions: dict[str, str] = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _checksum(manifest: Mapping[str, Any]) -> str:
    return fingerprint({key: value for key, value in manifest.items() if key not in _UNSUMMED})


def _has_the_rest(manifest: Mapping[str, Any]) -> bool:
    """True if the values outside the checksum are valid."""
    return isinstance(manifest.get("seconds"), int | float) and are_outputs(manifest.get("outputs"))


def are_outputs(value: Any) -> bool:
    """True for a value of the form that `outputs` returns."""
    return isinstance(value, dict) and all(
        isinstance(output, dict) and {"sha256", "bytes"} <= output.keys() for output in value.values()
    )
