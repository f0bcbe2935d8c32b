"""GGUF models are unpacked once, and kept as plain safetensors and tokenizer files that load in a tenth of a second.

They are in $ACCLIMATE_CACHE, else $XDG_CACHE_HOME/acclimate, else ~/.cache/acclimate, in folders named by a hash of the
GGUF file and of what unpacked it. A folder appears whole or not at all, and is read only while its files are what was
written; where none can be made, each process unpacks for itself. Folders may be removed at any time.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from acclimate.base import distributed, models
from acclimate.base.digests import fingerprint, sha256
from acclimate.base.disk import writing
from acclimate.base.files import write_json

_MANIFEST = "acclimate.json"  # each file's size and sha256
_UNFINISHED_SECONDS = 24 * 3600  # after which whoever was writing is taken for dead


def unpacked(name: str, kind: str, unpack: Callable[[], Any], load: Callable[[Path], Any]) -> Any:
    """What `load` reads from where it is kept, else what `unpack` makes of the GGUF file, kept for the next time.

    name: of a GGUF model. kind: which part of it, and in which precision: an end of a file name. What is unpacked has
    the `save_pretrained` of transformers, and what is loaded from there must be equal to it.
    """
    folder = _cache() / f"{_fingerprint(name)}-{kind}"
    if _is_whole(folder):
        return load(folder)
    fresh = unpack()
    try:
        _keep(fresh, folder)
    except OSError as error:
        distributed.say("", f"{name} is unpacked again next time: {error}")
    return fresh


def _cache() -> Path:
    if given := os.environ.get("ACCLIMATE_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "acclimate"  # noqa: PTH111


def _fingerprint(name: str) -> str:
    versions = [importlib.metadata.version(library) for library in ("transformers", "gguf")]
    return fingerprint(models.weights_fingerprint(name), *versions)


def _is_whole(folder: Path) -> bool:
    """Whether the files in the folder are those that were written, byte for byte."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest) and all(
            (folder / name).stat().st_size == size and sha256(folder / name) == digest
            for name, (size, digest) in manifest.items()
        )
    except Exception:  # not there, or damaged in any way
        return False


def _keep(fresh: Any, folder: Path) -> None:
    """Save what was unpacked, unless another process was first. Raises OSError where it cannot be."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(".*.part"):
        if time.time() - left.stat().st_mtime > _UNFINISHED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".", suffix=".part") as beside, writing(folder):
        partial = Path(beside) / "whole"
        fresh.save_pretrained(partial)
        manifest = {path.name: [path.stat().st_size, sha256(path)] for path in partial.iterdir()}
        write_json(partial / _MANIFEST, manifest)
        if not _is_whole(folder):
            with suppress(FileNotFoundError):
                folder.rename(Path(beside) / "damaged")
            partial.rename(folder)
