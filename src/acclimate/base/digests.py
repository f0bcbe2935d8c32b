"""SHA-256 digests of files, fingerprints of values and folders, digests of texts, and detection of changed files."""

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
    """`sha256`, cached until the file's size or modification time changes."""
    state = path.stat()
    return _sha256_of(path.absolute(), state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=1000)
def _sha256_of(path: Path, *_state: int) -> str:
    return sha256(path)


def changed(digests: Mapping[Path, str], record: Path) -> Path | None:
    """The first file that is missing or whose digest differs from the given one; None if there is none.

    record: the file that holds these digests. Only files modified since `record` are read; if all are unchanged,
    `record` is touched, so that they are not read again until they are written to.
    """
    since, was_read = record.stat().st_mtime_ns, False
    for path, digest in digests.items():
        if not path.is_file():
            return path
        if path.stat().st_mtime_ns >= since:
            was_read = True
            if sha256(path) != digest:
                return path
    if was_read:
        with suppress(OSError):  # a run owned by another user: read again each time
            os.utime(record)
    return None


def seal(path: Path) -> None:
    """Write a file's digest beside it, as sha256sum does."""
    write_text(_seal(path), f"{sha256(path)}  {path.name}\n")


def is_sealed(path: Path) -> bool:
    """True if the file has a digest beside it and has not changed since."""
    try:
        digest = _seal(path).read_text(encoding="utf-8").partition(" ")[0]
    except (OSError, UnicodeDecodeError):
        return False
    return changed({path: digest}, _seal(path)) is None


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def fingerprint(*parts: Any) -> str:
    """32 hex digits that identify JSON-serializable values, the same on every machine."""
    payload = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(payload.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def text_digest(text: str, size: int = 16) -> bytes:
    """That many bytes, equal for equal texts, which may have half a surrogate pair."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def folder_fingerprint(folder: Path) -> str:
    """Fingerprint of the names and bytes of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return fingerprint(*[(path.relative_to(folder).as_posix(), sha256(path)) for path in files])
