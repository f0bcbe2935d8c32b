"""Tables with named columns: CSV, TSV and Parquet, of documents or queries.

CSV is RFC 4180: quotes around cells that hold a comma, a quote or a line end. If its first line has semicolons and no
comma, semicolons separate the cells: spreadsheet programs write them wherever decimals have a comma.

TSV has two dialects, raw (quotes are letters; a cell holds neither tab nor line end) and quoted like CSV, and nothing
in the file says which; reading one as the other swallows lines. So a TSV file is scanned first and read in the dialect
that fits; where both fit and differ it is refused, never guessed.

People write `ID` and `Title` above the columns of a spreadsheet, so the case of a needed column's name does not matter.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError
from acclimate.base.files import LONGEST, open_bytes, read_lines, read_raw_lines
from acclimate.base.text import counted
from acclimate.corpus.formats import fields
from acclimate.corpus.formats.fields import Field, Located, Place
from acclimate.records import Doc, Query

Cells = Iterator[tuple[int, list[str]]]  # line number and cells of each record


def read_corpus(path: Path) -> Located[Doc]:
    """Stream the docs of a table in the order of its rows."""
    return Located(fields.docs(_rows(path, fields.DOC_ID, fields.DOC_TEXT, others=True)))


def read_queries(path: Path) -> list[Query]:
    """The queries of a table in the order of its rows."""
    return fields.queries(_rows(path, fields.QUERY_ID, fields.QUERY_TEXT), path)


def text_rows(path: Path, *needed: Field) -> Iterator[tuple[Place, dict[str, str]]]:
    """The rows of a CSV or TSV file, cells by the names of their columns. Raises DataError by line, and where there is
    no column for what is needed.
    """
    return named_rows(path, *needed, is_csv=path.name.lower().removesuffix(".gz").endswith(".csv"))


def named_rows(path: Path, *needed: Field, is_csv: bool) -> Iterator[tuple[Place, dict[str, str]]]:
    """`text_rows` of a file with any name."""
    return _named(path, _csv_cells(path) if is_csv else _tsv_cells(path), *needed)


def headerless_rows(path: Path, *, is_raw: bool) -> Iterator[tuple[Place, list[str]]]:
    """The cells of each record of a TSV file without a header, in the dialect that fits.

    is_raw: quotation marks are always letters.
    """
    records = _raw_cells(path) if is_raw else _tsv_cells(path, has_header=False)
    return ((Place(path, line), cells) for line, cells in records)


def parquet_rows(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The rows of a Parquet file with all columns, of any type."""
    return _parquet_rows(path, None)


def _rows(path: Path, *needed: Field, others: bool = False) -> Iterator[tuple[Place, dict[str, Any]]]:
    is_parquet = path.name.lower().endswith(".parquet")
    return _parquet_rows(path, needed, others) if is_parquet else text_rows(path, *needed)


def _named(path: Path, records: Cells, *needed: Field) -> Iterator[tuple[Place, dict[str, str]]]:
    line, header = next(records, (0, []))
    # Comments that Google Analytics writes above a table.
    while header and (header == ["#"] or header[0].startswith("# ")):
        line, header = next(records, (0, []))
    if not header:
        raise DataError("an empty file; expected a first line with the names of the columns", path=path)
    _distinct(header, Place(path, line))
    accepted = _accepted_names(header, needed)
    header = [accepted.get(name, name) for name in header]
    for field in needed:
        fields.pick(header, field, Place(path, line))
    for line, cells in records:
        place = Place(path, line)
        if len(cells) != len(header):
            raise place.error(
                f"found {counted(len(cells), 'cell')}; expected {len(header)}, as in the first line: {header}"
            )
        yield place, dict(zip(header, cells, strict=True))


def _csv_cells(path: Path) -> Cells:
    first = next((line for _, line in read_lines(path) if line and line != "#" and not line.startswith("# ")), "")
    return _quoted_cells(path, separator(first))


def separator(header: str) -> str:
    """What separates the cells of a CSV file with this first line."""
    return ";" if ";" in header and "," not in header else ","


def _quoted_cells(path: Path, delimiter: str) -> Cells:
    """The records of a CSV file, with the line at which each begins."""
    csv.field_size_limit(LONGEST)  # a document may be longer than csv's 128 KiB
    records = csv.reader((line for _, line in read_raw_lines(path)), delimiter=delimiter, strict=True)
    begin = 1
    try:
        for cells in records:
            if cells:
                yield begin, cells
            begin = records.line_num + 1
    except csv.Error as error:
        raise DataError(f"not CSV: {error}, in the record that begins here", path=path, line=begin) from None


def _raw_cells(path: Path) -> Cells:
    """The records of a TSV file without quoting: one per line."""
    return ((number, line.split("\t")) for number, line in read_lines(path) if line)


def _tsv_cells(path: Path, *, has_header: bool = True) -> Cells:
    """The records of a TSV file in the only dialect that fits."""
    marked = next((line for line, cells in _raw_cells(path) if any(cell.startswith('"') for cell in cells)), None)
    if marked is None:  # both dialects read the same
        return _raw_cells(path)
    # A writer that quotes names quotes every cell; nobody's column is called "doc_id" with the quotes.
    if marked == 1 and has_header:
        return _quoted_cells(path, "\t")
    raw, quoted = _shape(_raw_cells(path)), _shape(_quoted_cells(path, "\t"))
    if raw != quoted:
        return _raw_cells(path) if raw else _quoted_cells(path, "\t")
    quotes = {_quotes(cell) for _, cells in _raw_cells(path) for cell in cells if cell.startswith('"')}
    if not has_header and all(
        cell[:1] == '"' and _quotes(cell) != "open" for _, row in _raw_cells(path) for cell in row
    ):
        return _quoted_cells(path, "\t")  # every cell
    if not raw or quotes == {"needless"}:  # no writer of the quoted dialect quotes without need; raw names bad lines
        return _raw_cells(path)
    if quotes == {"needed"}:
        return _quoted_cells(path, "\t")
    quoting = "If it is quoted, put the names in the first line into quotes too; else save it as JSON Lines or CSV"
    raise DataError(
        "a cell begins with a quotation mark, and the file can be read with quoting as well as without. "
        + (quoting if has_header else "If triples are not quoted, say --from triples-raw; else save it as JSON Lines"),
        path=path,
        line=marked,
    )


def _shape(records: Cells) -> bool:
    """True if all records have as many cells as the first."""
    try:
        _, header = next(records)
        return all(len(cells) == len(header) for _, cells in records)
    except DataError:
        return False


def _quotes(cell: str) -> str:
    """The role that a quotation mark at the start of a cell would have if the file were quoted."""
    if len(cell) < 2 or not cell.endswith('"') or '"' in cell[1:-1].replace('""', ""):
        return "open"  # the cell would continue after the next tab or line end
    return "needed" if '""' in cell[1:-1] or "\r" in cell else "needless"


def _parquet_rows(
    path: Path, needed: tuple[Field, ...] | None, others: bool = False
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """needed: fields to read; None: all columns. others: also read columns to filter by."""
    import pyarrow
    from pyarrow import parquet

    open_bytes(path).close()  # reports why a path is no readable file
    row = 0
    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            names: list[str] = file.schema_arrow.names
            _distinct(names, Place(path))
            accepted = _accepted_names(names, needed or ())
            if needed is None:
                columns = names
            else:
                column_of = {accepted.get(name, name): name for name in names}
                columns = [column_of[fields.pick(column_of, field, Place(path))] for field in needed]
                columns += [column_of["title"]] if "title" in column_of else []
                for name in columns:
                    _check_type(file.schema_arrow.field(name).type, name, Place(path))
            if others:
                columns += [
                    part.name for part in file.schema_arrow if part.name not in columns and _is_plain(part.type)
                ]
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                for cells in _cells(batch):
                    row += 1
                    yield Place(path, row), {accepted.get(name, name): value for name, value in cells.items()}
    except UnicodeDecodeError as error:
        raise DataError(f"a text is not UTF-8: {error.reason}", path=path, line=row + 1) from None
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # a corrupt file raises any of these
        where = f" behind row {row:,}" if row else ""
        raise DataError(f"not a readable Parquet file{where}: {error}", path=path) from None


def _check_type(kind: Any, name: str, place: Place) -> None:
    """Raises DataError for a column of anything but text and integers, whose text form would be a guess."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    texts = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_null)
    if not any(is_of(kind) for is_of in texts):
        raise place.error(f"column {fields.as_json(name)} holds {kind}; expected text or whole numbers")


def _is_plain(kind: Any) -> bool:
    """True for values to filter by, and lists of texts; a list of numbers is a vector."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    if types.is_list(kind) or types.is_large_list(kind):
        return any(is_of(kind.value_type) for is_of in texts)
    if types.is_timestamp(kind):
        return kind.unit != "ns"  # which Python has no type for
    plain = (*texts, types.is_boolean, types.is_integer, types.is_floating, types.is_date)
    return any(is_of(kind) for is_of in plain)


def _cells(batch: Any) -> Iterable[dict[str, Any]]:
    """The rows of a batch; one by one where some cannot be decoded, so that their row number is known."""
    batch.validate()
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        return (row.as_py() for row in batch.to_struct_array())


def _accepted_names(names: list[str], needed: tuple[Field, ...]) -> dict[str, str]:
    """The accepted name of each column whose own differs from it in case alone, where no column has an accepted one."""
    accepted: dict[str, str] = {}
    for field in (*needed, fields.TITLE) if needed else ():
        if not any(name in field.names for name in names):
            alike = [name for name in names if name.lower() in field.names]
            accepted |= {name: name.lower() for name in alike if len(alike) == 1}
    return accepted


def _distinct(header: list[str], place: Place) -> None:
    for name, count in Counter(header).items():
        if count > 1:
            raise place.error(f"{counted(count, 'column')} are named {fields.as_json(name)}; names must differ")
