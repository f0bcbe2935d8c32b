"""Work on an output file that can be resumed: its intermediate files are in a folder beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acclimate.base.errors import DataError, MissingExtra, SettingError
from acclimate.base.files import make_folder, tidied_above
from acclimate.base.targets import refuse_unwritable


@contextmanager
def partial_folder(output: Path) -> Iterator[Path]:
    """OUTPUT.partial, for intermediate files: removed when the work is done, and kept if it is interrupted.

    Raises DataError for an output that a file cannot replace.
    """
    refuse_unwritable(output)
    folder = output.with_name(f"{output.name}.partial")
    is_new = not folder.exists()
    with tidied_above(folder):
        make_folder(folder)
        try:
            yield folder
        except (SettingError, DataError, MissingExtra):
            if is_new:  # a mistake leaves nothing behind
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
