"""Rows of objects, written: JSON Lines, or Parquet where the name of the file ends so."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError
from acclimate.base.files import atomic_write, write_lines
from acclimate.corpus.formats.fields import as_json

BATCH = 1_000  # rows written at a time to Parquet


def write_objects(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Parquet where the name ends in .parquet, else JSON Lines, gzipped for .gz. Returns how many rows.

    Raises DataError for a value that the file cannot hold; of Parquet, for a row with more columns than the first ones.
    """
    if path.name.lower().endswith(".parquet"):
        return _write_parquet(path, rows)
    return write_lines(path, (_as_line(row, number, path) for number, row in enumerate(rows, 1)))


def _as_line(row: Mapping[str, Any], number: int, path: Path) -> str:
    try:
        line = json.dumps(row, ensure_ascii=False, allow_nan=False, default=_as_text)
        line.encode()
    except (ValueError, TypeError, RecursionError) as error:  # of keys that nobody looked at before
        raise DataError(f"row {number:,} to be written has what JSON has not: {error}", path=path) from None
    return line


def _as_text(value: Any) -> str:
    """Dates and the like, which tables hold, as JSON has them."""
    if isinstance(value, datetime.date | datetime.time | decimal.Decimal | uuid.UUID):
        return str(value)
    raise TypeError(f"a {type(value).__name__}")


def _write_parquet(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    from pyarrow import parquet

    count, rest = 0, iter(rows)
    with atomic_write(path) as partial:
        batch = list(islice(rest, BATCH))
        schema = _as_table(batch, None, path).schema
        with parquet.ParquetWriter(partial, schema) as writer:
            while batch:
                for row in batch:
                    if unknown := row.keys() - set(schema.names):
                        raise DataError(
                            f"{as_json(min(unknown))} is a key that the first rows have not, and a Parquet table has "
                            "the same columns throughout; write JSON Lines",
                            path=path,
                        )
                writer.write_table(_as_table(batch, schema, path))
                count += len(batch)
                batch = list(islice(rest, BATCH))
    return count


def _as_table(rows: list[Mapping[str, Any]], schema: Any, path: Path) -> Any:
    import pyarrow as pa

    try:
        return pa.Table.from_pylist(rows, schema)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
        raise DataError(f"no table can be made of these rows: {error}; write JSON Lines", path=path) from None
