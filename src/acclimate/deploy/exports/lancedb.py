"""LanceDB: a table of documents with their vectors, a table of BM25's weights, and a reader in Python.

LanceDB finds the nearest vectors and the postings of a query's terms, exactly unless an approximate index is made; the
reader fuses them. LanceDB's own full-text index (`create_fts_index`) analyzes and weighs words differently. Token
vectors are kept as bytes and only score candidates.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any
from unicodedata import category

from acclimate.base.errors import SettingError
from acclimate.deploy.exports import queries
from acclimate.deploy.exports.check import check, line
from acclimate.deploy.exports.client import Fusion
from acclimate.deploy.exports.formats import Written, needed
from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.postings import postings_of
from acclimate.deploy.exports.source import DENSE, LATE_INTERACTION, LEXICAL, Document, Source

_READER = Path(__file__).parent / "readers" / "lancedb.py"  # importing it needs the library


def write(source: Source, folder: Path) -> Written:
    """See the package."""
    lancedb = needed("lancedb", "Export to LanceDB", "lancedb")
    if any(category(char) == "Cc" for char in str(folder)):
        raise SettingError("LanceDB takes no path with control characters, such as line breaks; choose another --out")
    queries.save(source, folder / "query")
    Fusion.save(source, folder)
    database = lancedb.connect(folder / "database")
    tables = {"documents": _documents(source)}
    tables |= {identifier(name): _postings(source, name) for name, kind in source.kinds.items() if kind in LEXICAL}
    counts: dict[str, int] = {}
    for name, batches in tables.items():
        table = _filled(database, name, batches)
        counts[name if name == "documents" else f"{name} postings"] = table.count_rows()
    for name in list(tables)[1:]:
        _index(database.open_table(name), "term")
    shutil.copyfile(_READER, folder / "search.py")
    from acclimate.deploy.exports.readers import lancedb as reader

    search = reader.searcher(folder)
    checked = check(source, search)
    return Written(counts, {"check": checked}, [line(checked, "LanceDB")])


def _filled(database: Any, name: str, batches: Iterator[Any]) -> Any:
    """The table with all batches. Each is added as a whole, so those whose rows are there already are skipped."""
    table = database.open_table(name) if name in database.list_tables().tables else None
    there, passed = table.count_rows() if table else 0, 0
    for batch in batches:
        passed += batch.num_rows
        if table is None:
            table = database.create_table(name, batch)
        elif passed > there:
            table.add(batch)
    return table


def _index(table: Any, column: str) -> None:
    """Index a column by a B-tree, through the API that this version of the library has."""
    if "config" not in signature(table.create_index).parameters:
        table.create_scalar_index(column)
        return
    from lancedb.index import BTree

    table.create_index(column, config=BTree())


def _documents(source: Source) -> Iterator[Any]:
    import pyarrow as pa

    for part in source.parts():
        columns = dict(zip(Document._fields, map(pa.array, zip(*part.documents, strict=True)), strict=True))
        for name, kind in source.kinds.items():
            if kind == DENSE:
                components = pa.array(source.dense_vectors(name, part).ravel())
                columns[identifier(name)] = pa.FixedSizeListArray.from_arrays(components, source.dim(name))
            elif kind == LATE_INTERACTION:
                tokens, scales = zip(*source.token_vectors(name, part).in_bytes(), strict=True)
                columns[f"{identifier(name)}_tokens"] = pa.array(tokens, pa.binary())
                columns[f"{identifier(name)}_scales"] = pa.array(scales, pa.binary())
        yield pa.table(columns)


def _postings(source: Source, name: str) -> Iterator[Any]:
    import pyarrow as pa

    for entries in postings_of(source.system.members[name]).blocks():
        numbers = source.numbers[entries.rows]
        yield pa.table(
            {"term": pa.array(entries.terms), "number": pa.array(numbers), "weight": pa.array(entries.weights)}
        )
