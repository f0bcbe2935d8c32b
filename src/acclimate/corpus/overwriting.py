"""The files that are read of a collection, over which no command writes."""

from __future__ import annotations

from pathlib import Path

from acclimate.base.files import exists
from acclimate.base.targets import refuse_replacing
from acclimate.corpus.collections import path_of
from acclimate.corpus.formats.beir import files_of_judgments
from acclimate.corpus.formats.data_files import data_file, parts_of
from acclimate.corpus.formats.folder import find_files


def refuse_replacing_collection(target: Path, name: str) -> None:
    """Raises DataError if writing `target` would replace a file of the collection of that name."""
    if exists(target) and (source := path_of(name)) is not None and exists(source):
        refuse_replacing(target, *(_files_in(source) if source.is_dir() else [source]))


def _files_in(folder: Path) -> list[Path]:
    named = [path for stem in ("corpus", "queries", "collection") if (path := data_file(folder, stem))]
    return [*named, *files_of_judgments(folder).values()] if named else parts_of(folder) or find_files(folder)[0]
