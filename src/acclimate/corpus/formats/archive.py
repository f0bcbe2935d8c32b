"""Archives that are documents: those of office programs and e-books."""

from __future__ import annotations

import zipfile
from pathlib import Path

from acclimate.base.errors import DataError
from acclimate.base.files import LONGEST


def open_archive(path: Path) -> zipfile.ZipFile:
    """The parts of an archive. Raises DataError for one whose parts would fill the memory."""
    parts = zipfile.ZipFile(path)
    if sum(part.file_size for part in parts.infolist()) > 10 * LONGEST:
        parts.close()
        raise DataError(f"holds more than {10 * LONGEST:,} bytes", path=path)
    return parts
