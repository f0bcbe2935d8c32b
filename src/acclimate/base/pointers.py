"""Refuse pointers: small files that a clone of a repository has in place of large ones that were not fetched."""

from __future__ import annotations

from pathlib import Path

from acclimate.base.errors import DataError

_POINTERS = {  # first bytes -> tool, and the command that fetches the file
    b"version https://git-lfs.github.com/spec/": ("Git LFS", "git lfs pull"),
    b"/annex/objects/": ("git-annex", "git annex get"),
}


def refuse_pointer(start: bytes, path: Path) -> None:
    """Raises DataError if `start`, the first bytes of a file, are those of a pointer."""
    for first, (tool, command) in _POINTERS.items():
        if start.startswith(first):
            raise DataError(f"is a pointer of {tool} instead of the file; fetch the file first: {command}", path=path)
