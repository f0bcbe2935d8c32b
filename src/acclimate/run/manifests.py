"""The manifest of a stage, written last of all: how it was made, from what, and the digest of each of its files.

It carries a checksum, so that whoever reads one that is damaged is told so, and reads nothing else. What a clock may
move is not in it: the same inputs give the same checksum.
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
from acclimate.base.version import __version__

NAME = "manifest.json"
_LIBRARIES = "torch transformers sentence-transformers bm25s ir-measures numpy scikit-learn datasketch".split()
_CHECKSUM = "checksum"
_UNSUMMED = (_CHECKSUM, "seconds", "outputs")  # digests of what says how long a search took differ, too


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished stage, else None: an empty one is what a machine that lost its power leaves.

    Raises DataError for one that is damaged.
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
    return DataError(f"{what}; make it again with: acclimate {folder.name} {folder.parent}")


def write(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest of a stage; returns it as it will be read."""
    plain = json.loads(json.dumps(manifest))
    plain[_CHECKSUM] = _checksum(plain)
    write_json(folder / NAME, plain)
    return plain


def outputs(folder: Path, *besides: Path) -> dict[str, dict[str, Any]]:
    """Digest and size of each file of a stage, but for its manifest and those `besides`."""
    return {
        path.relative_to(folder).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path not in (folder / NAME, *besides)
    }


def harmed(folder: Path, manifest: Mapping[str, Any]) -> Path | None:
    """The first file of a finished stage that is not as it was made."""
    files = {folder / name: output for name, output in manifest["outputs"].items()}
    for path, output in files.items():
        if not path.is_file() or path.stat().st_size != output["bytes"]:
            return path
    return changed({path: output["sha256"] for path, output in files.items()}, folder / NAME)


def check(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raises DataError for a finished stage that is not as it was made."""
    if path := harmed(folder, manifest):
        raise _again(folder, f"{path}: not as {folder.name} made it")


def versions() -> dict[str, str]:
    """What this result was made with."""
    ours = {"acclimate": __version__, "python": platform.python_version(), "machine": platform.machine()}
    return {**ours, **_libraries()}


@cache
def _libraries() -> dict[str, str]:
    """The versions of those that are installed: each is looked for in a file of its own."""
    from importlib import metadata  # which brings all that reads e-mails

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
    """True where what the checksum leaves out is what it should be."""
    outputs = manifest.get("outputs")
    return (
        isinstance(manifest.get("seconds"), int | float)
        and isinstance(outputs, dict)
        and all(isinstance(output, dict) and {"sha256", "bytes"} <= output.keys() for output in outputs.values())
    )
