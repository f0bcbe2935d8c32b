"""Files for PostgreSQL's COPY: escaped text, and numbers in its binary format, which NumPy writes as a whole.

https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS; a vector in binary is its dimensions, two
unused bytes and its components (`vector_send`, `halfvec_send` of pgvector).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from acclimate.base.errors import DataError
from acclimate.base.files import atomic_write, read_lines

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEXT, BINARY = ".copy", ".bin"  # how their names end
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # signature, no flags, no extension
_TRAILER = b"\xff\xff"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\ufffd"})


def text_line(cells: Iterable[Any]) -> str:
    """A row without a line end. Zero bytes, which PostgreSQL cannot hold, become replacement characters."""
    return "\t".join(str(cell).translate(_ESCAPES) for cell in cells)


def write_binary(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns of numbers (n,) or vectors (n, dim), in 32 bits, or 16 for the components of a halfvec."""
    fields: list[tuple[Any, ...]] = [("n_fields", ">i2")]
    for name, column in columns.items():
        kind, shape = column.dtype.newbyteorder(">"), column.shape[1:]
        fields.append((f"{name} bytes", ">i4"))
        fields += [(f"{name} dim", ">i2"), (f"{name} unused", ">i2")] if shape else []
        fields.append((name, kind, shape))
    rows = np.zeros(len(next(iter(columns.values()))), np.dtype(fields))
    rows["n_fields"] = len(columns)
    for name, column in columns.items():
        size = column.dtype.itemsize * int(np.prod(column.shape[1:]))
        rows[f"{name} bytes"] = size
        if column.ndim > 1:
            rows[f"{name} bytes"], rows[f"{name} dim"] = size + 4, column.shape[1]
        rows[name] = column
    with atomic_write(path) as partial, partial.open("wb") as sink:
        sink.write(_HEADER)
        sink.write(rows.tobytes())
        sink.write(_TRAILER)


def count_rows(path: Path) -> int:
    """The number of rows in a file of either kind. Raises DataError for a truncated binary file."""
    if path.suffix != BINARY:
        return sum(1 for _ in read_lines(path))
    n_bytes = path.stat().st_size - len(_HEADER) - len(_TRAILER)
    with path.open("rb") as rows:
        rows.seek(len(_HEADER))
        size = 2
        for _ in range(max(0, _number(rows, 2))):
            length = _number(rows, 4)
            rows.seek(length, os.SEEK_CUR)
            size += 4 + length
    if n_bytes % size:
        raise DataError("incomplete; remove it and run the same command again", path=path)
    return n_bytes // size


def _number(rows: IO[bytes], size: int) -> int:
    return int.from_bytes(rows.read(size), "big", signed=True)
