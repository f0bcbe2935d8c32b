"""Files of rows, each a document or a query: their types, and the parts of one that was written in several."""

from __future__ import annotations

import re
from pathlib import Path

from acclimate.base.errors import DataError
from acclimate.base.files import is_file

JSONL = (".jsonl", ".jsonl.gz")
TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
LAST_SUFFIXES = {".jsonl", ".json", ".parquet", ".arrow", ".tsv", ".csv", ".gz"}  # of all that hold data
CARD = "README.md"  # description of a data set
_NUMBER = re.compile(r"\d+")


def parts_of(folder: Path) -> list[Path]:
    """The files of a folder with nothing but parts, in the order of their numbers; [] for any other folder.

    Parts have the same name but for its numbers, as those of Spark, of the Hugging Face hub, or of every year. Names
    with an underscore or a dot in front are marks of programs.
    """
    paths = [path for path in folder.iterdir() if not path.name.startswith(("_", ".")) and path.name != CARD]
    names = {_NUMBER.sub("0", path.name) for path in paths}
    if len(paths) < 2 or len(names) > 1 or not all(is_data(path) and is_file(path) for path in paths):
        return []
    return sorted(paths, key=lambda path: ([int(number) for number in _NUMBER.findall(path.name)], path.name))


def is_data(path: Path) -> bool:
    """True for a name that ends as those of files of rows do."""
    return path.name.lower().endswith(JSONL + TABLES)


def data_file(folder: Path, stem: str) -> Path | None:
    """The file with this stem and a known suffix, if there is one."""
    paths = [path for suffix in (*JSONL, *TABLES) if (path := folder / f"{stem}{suffix}").exists()]
    for path in paths:
        if path.is_dir():
            raise DataError("is a directory; expected a file", path=path)
    if len(paths) > 1:
        names = " and ".join(path.name for path in paths)
        raise DataError(f"found {names}, and it is unclear which one to use; keep one", path=folder)
    return paths[0] if paths else None
