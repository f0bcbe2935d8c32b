"""Rows of any file: JSON Lines, CSV or TSV with a header, Parquet, or a saved data set.

A file is recognized by its first bytes, not by its name.
"""

from __future__ import annotations

import ast
import csv
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from acclimate.base.errors import DataError
from acclimate.base.files import exists, is_file, open_bytes, read_json, read_json_lines, read_lines
from acclimate.base.json_values import json_error, json_value
from acclimate.corpus.formats import tables
from acclimate.corpus.formats.data_files import parts_of
from acclimate.corpus.formats.fields import Place, as_json

T = TypeVar("T")

_SHARD = re.compile(r"(?P<split>.+)-[0-9]{5}-of-[0-9]{5}(-[0-9a-f]+)?\.(parquet|jsonl|jsonl\.gz)")
SAVED = ("state.json", "dataset_info.json")  # files of a folder written by datasets' save_to_disk


def is_parquet(path: Path) -> bool:
    """True if a file begins like a Parquet file."""
    if not is_file(path):
        return False
    with open_bytes(path) as stream:
        return stream.read(4) == b"PAR1"


def is_dataset(path: Path) -> bool:
    """True for a folder written by `save_to_disk` of Hugging Face's datasets, or a folder of shards."""
    return path.is_dir() and (all(exists(path / name) for name in SAVED) or bool(_shards(path)))


def objects(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Each row with its place, as values by name. Raises DataError naming the line, and for an empty file."""
    return _not_empty(_objects(path), path)


def json_objects(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Each line of a JSON Lines file, as `objects`."""
    return _not_empty(json_rows(path), path)


def json_rows(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Each line of a JSON Lines file, as `objects`; none of an empty file."""
    for number, value in read_json_lines(path):
        if isinstance(value, list):
            raise _list_of_objects(path, number)
        if not isinstance(value, dict):
            raise DataError(f"found {as_json(value)}; expected a JSON object", path=path, line=number)
        yield Place(path, number), value


def whole_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, over any number of lines. Raises DataError if it is none."""
    text = "\n".join(line for _, line in read_lines(path))
    try:
        value = json_value(text)
    except (ValueError, RecursionError) as error:
        raise json_error(error, path) from None
    if isinstance(value, list):
        raise _list_of_objects(path)
    if not isinstance(value, dict):
        raise DataError(f"found {as_json(value)}; expected a JSON object", path=path)
    return value


def lists(path: Path) -> Iterator[tuple[Place, list[Any]]]:
    """Each line of a file with one JSON list per line."""
    for number, value in read_json_lines(path):
        if not isinstance(value, list):
            raise DataError(f"found {as_json(value)}; expected a JSON list", path=path, line=number)
        yield Place(path, number), value


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """A row with NaN, pandas' missing value, replaced by None."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def _not_empty(rows: Iterator[tuple[Place, T]], path: Path) -> Iterator[tuple[Place, T]]:
    first = next(rows, None)
    if first is None:
        raise DataError("no records in this file; expected one JSON object per line, or rows below a header", path=path)
    return chain([first], rows)


def _objects(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    if path.is_dir():
        shards = _shards(path)
        return chain.from_iterable(map(_objects, shards)) if shards else _saved_rows(path)
    if is_parquet(path):
        return ((place, _without_nan(row)) for place, row in tables.parquet_rows(path))
    first = first_line(path)
    if first.lstrip()[:1] not in ("{", "["):
        return tables.named_rows(path, is_csv="\t" not in first)
    return json_rows(path)


def first_line(path: Path) -> str:
    """The first line that is not blank; "" if there is none."""
    return next((line for _, line in read_lines(path) if line.strip()), "")


def table(folder: Path, stem: str) -> Path | None:
    """The file of rows with this stem in a folder, or the saved data set of this name."""
    paths = [*([folder / stem] if is_dataset(folder / stem) else []), *sorted(folder.glob(f"{stem}.*"))]
    if len(paths) > 1:
        raise DataError(f"found {' and '.join(path.name for path in paths)}; keep one", path=folder)
    return paths[0] if paths else None


def cells_of(line: str) -> list[str]:
    """The cells of a header line, separated by tabs, or as in CSV."""
    try:
        return next(csv.reader([line], delimiter="\t" if "\t" in line else tables.separator(line)), [])
    except csv.Error:
        return line.split("\t")


def _list_of_objects(path: Path, line: int | None = None) -> DataError:
    return DataError(
        "found a JSON list; expected a JSON object per line. If the file is one list of objects, unpack it first: "
        f"jq -c '.[]' {path.name}",
        path=path,
        line=line,
    )


def _shards(path: Path) -> list[Path]:
    """The parts of a file of rows, in order, where a folder holds nothing else. Raises DataError for shards of several
    splits, because test data must not be trained on.
    """
    if parts := parts_of(path):
        return parts
    files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    splits = [match["split"] for file in files if (match := _SHARD.fullmatch(file.name))]
    if len(splits) < len(files):
        return []
    if len(set(splits)) > 1:
        raise DataError(
            f"holds the splits {' and '.join(sorted(set(splits)))}; name a file, or put those of one into a folder",
            path=path,
        )
    return files


def _saved_rows(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The rows of a folder saved by Hugging Face's datasets: Arrow files in the order of its state.json."""
    import pyarrow as pa

    if not is_dataset(path):
        raise DataError(f"is a folder without {' and '.join(SAVED)}; expected a file or a saved dataset", path=path)
    state = read_json(path / SAVED[0])
    files = state.get("_data_files") if isinstance(state, dict) else None
    if not isinstance(files, list) or (isinstance(state, dict) and state.get("_indices_data_files")):
        raise DataError("is not a readable state of a saved dataset; save it again", path=path / SAVED[0])
    row = 0
    for file in files:
        name = file.get("filename", "") if isinstance(file, dict) else ""
        if not name or Path(name).name != name:
            raise DataError(f"names {as_json(file)}; expected a file of this folder", path=path / SAVED[0])
        try:
            with open_bytes(path / name) as stream, pa.ipc.open_stream(stream) as batches:
                for batch in batches:
                    batch.validate(full=True)  # damaged offsets would read outside the buffer
                    for cells in batch.to_pylist():
                        row += 1
                        yield Place(path, row), cells
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"not a readable Arrow file: {error}", path=path / name) from None


def optional_list(values: Mapping[str, Any], name: str, place: Place) -> list[Any]:
    """The list of this name; [] if it is missing or null."""
    return [] if values.get(name) is None else json_list(values[name], name, place)


def json_list(value: Any, name: str, place: Place) -> list[Any]:
    """A list, or its JSON or Python text, as in tables."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                value = ast.literal_eval(value)
    if not isinstance(value, list):
        raise place.error(f"{name!r} is {as_json(value)}; expected a list")
    return value
