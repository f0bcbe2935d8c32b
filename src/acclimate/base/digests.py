"""Digests: of files, of what a stage was made from, and of files that must be as they were."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from acclimate.base.files import open_bytes, write_text


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with open_bytes(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_once(path: Path) -> str:
    """The same, for files that are asked for again and again: read anew only once size or time of change are others."""
    state = path.stat()
    return _sha256_of(path.absolute(), state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=1000)
def _sha256_of(path: Path, *_state: int) -> str:
    return sha256(path)


def changed(digests: Mapping[Path, str], record: Path) -> Path | None:
    """The first of these files that has another digest than `record`, where they are written, says; or that is gone.

    Only files that are not older than `record` are read, and `record` is made newer than those that were: what is
    known to be whole is read again once it is written to.
    """
    since, is_newer = record.stat().st_mtime_ns, False
    for path, digest in digests.items():
        if not path.is_file():
            return path
        if path.stat().st_mtime_ns >= since:
            is_newer = True
            if sha256(path) != digest:
                return path
    if is_newer:
        with suppress(OSError):  # somebody else's run is read each time
            os.utime(record)
    return None


def seal(path: Path) -> None:
    """Write a file's digest beside it, as sha256sum does."""
    write_text(_seal(path), f"{sha256(path)}  {path.name}\n")


def is_sealed(path: Path) -> bool:
    """True for a file that is as it was when it was sealed."""
    try:
        digest = _seal(path).read_text(encoding="utf-8").partition(" ")[0]
    except (OSError, UnicodeDecodeError):
        return False
    return changed({path: digest}, _seal(path)) is None


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def fingerprint(*parts: Any) -> str:
    """32 hex digits over JSON-able parts; the same parts give the same fingerprint on every machine."""
    payload = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(payload.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def folder_fingerprint(folder: Path) -> str:
    """A fingerprint of every file below a folder, names and bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return fingerprint(*[(path.relative_to(folder).as_posix(), sha256(path)) for path in files])
