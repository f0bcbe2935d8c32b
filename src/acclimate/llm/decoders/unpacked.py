"""A cache of unpacked GGUF models as safetensors and tokenizer files, which load in a tenth of a second.

Folders are in $ACCLIMATE_CACHE, else $XDG_CACHE_HOME/acclimate, else ~/.cache/acclimate, named by a hash of the GGUF
file and of the software that unpacked it. They are created atomically and used only if their files are intact; if they
cannot be created, each process unpacks for itself. They may be deleted at any time.
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
from acclimate.base.disk import share, writing
from acclimate.base.files import write_json

_MANIFEST = "acclimate.json"  # size and sha256 of each file
_UNFINISHED_SECONDS = 24 * 3600  # age from which an unfinished folder counts as abandoned


def load_unpacked(name: str, kind: str, unpack: Callable[[], Any], load: Callable[[Path], Any]) -> Any:
    """What `load` reads from the cache, else the result of `unpack`, which is then cached.

    name: of a GGUF model. kind: the part and precision, as a suffix of the folder. The result of `unpack` needs
    transformers' `save_pretrained`, and `load` must restore it exactly.
    """
    cache = _cache()
    folder = cache / f"{_fingerprint(name)}-{kind}" if cache else None
    if folder and _is_whole(folder):
        return load(folder)
    fresh = unpack()
    try:
        if folder is None:
            raise OSError("this user has no home folder")
        _keep(fresh, folder)
    except OSError as error:
        distributed.say("", f"{name} is unpacked again next time, unless ACCLIMATE_CACHE names a folder: {error}")
    return fresh


def _cache() -> Path | None:
    """None if no folder is named and the user has no home folder, as in containers with a user of their own."""
    if given := os.environ.get("ACCLIMATE_CACHE"):
        return Path(given)
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return None if folder.startswith("~") else Path(folder) / "acclimate"


def _fingerprint(name: str) -> str:
    versions = [importlib.metadata.version(library) for library in ("transformers", "gguf")]
    return fingerprint(models.weights_fingerprint(name), *versions)


def _is_whole(folder: Path) -> bool:
    """True if the folder's files are intact, byte for byte."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest) and all(
            (folder / name).stat().st_size == size and sha256(folder / name) == digest
            for name, (size, digest) in manifest.items()
        )
    except Exception:  # missing, or damaged in any way
        return False


def _keep(fresh: Any, folder: Path) -> None:
    """Save what was unpacked, unless another process was faster. Raises OSError on failure."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(".*.part"):
        if time.time() - left.stat().st_mtime > _UNFINISHED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".", suffix=".part") as beside, writing(folder):
        partial = Path(beside) / "whole"
        fresh.save_pretrained(partial)
        share(partial)
        manifest = {path.name: [path.stat().st_size, sha256(path)] for path in partial.iterdir()}
        write_json(partial / _MANIFEST, manifest)
        if not _is_whole(folder):
            with suppress(FileNotFoundError):
                folder.rename(Path(beside) / "damaged")
            partial.rename(folder)
