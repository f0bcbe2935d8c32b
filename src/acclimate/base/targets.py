"""Files to write, checked before the work whose result they take."""

from __future__ import annotations

import os
from pathlib import Path

from acclimate.base.disk import writing
from acclimate.base.errors import DataError
from acclimate.base.files import exists, file_beside, tidied_above


def refuse_unwritable(target: Path) -> None:
    """Raises DataError if no file can be written there; leaves nothing."""
    with tidied_above(target):
        partial = file_beside(target)
        with writing(target):
            partial.touch()
        partial.unlink()


def refuse_replacing(target: Path, *sources: str | os.PathLike[str]) -> None:
    """Raises DataError if writing `target` would replace one of the files that are read, or one in such a folder."""
    if not exists(target):
        return
    places = [target.resolve(), *target.resolve().parents]
    for source in filter(exists, sources):
        is_around = Path(source).is_dir() and Path(source).resolve() in places
        if is_around or target.samefile(source):
            raise DataError("would take the place of what is read; name another target", path=target)
