"""PostgreSQL with pgvector: a schema `acclimate` with documents, vectors, BM25's weights, and the system as a function.

`load.sql` creates it with psql: schema.sql (tables), the files in `data` that COPY reads, indexes.sql, functions.sql,
hnsw.sql. BM25 and late interaction are exact, and so are dense vectors without the HNSW index; with it they nearly are.
A token vector is kept as in the run: integers up to 127, which a halfvec holds exactly, and a scale.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.base import distributed
from acclimate.base.errors import AcclimateError, DataError
from acclimate.base.files import write_lines, write_text
from acclimate.base.progress import Progress
from acclimate.base.text import counted, quoted
from acclimate.deploy.exports import pgvector_sql, queries
from acclimate.deploy.exports.check import check, line
from acclimate.deploy.exports.formats import Written, needed
from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.pgvector_copy import BINARY, TEXT, count_rows, text_line, write_binary
from acclimate.deploy.exports.postings import postings_of
from acclimate.deploy.exports.readers import pgvector as reader
from acclimate.deploy.exports.source import DENSE, LATE_INTERACTION, LEXICAL, Part, Source, TokenVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FILE = re.compile(rf"(?P<table>.+)-\d{{5}}({re.escape(TEXT)}|{re.escape(BINARY)})")
_BLOCK = 1 << 20  # bytes sent at once


def write(source: Source, folder: Path) -> Written:
    """See the package."""
    queries.save(source, folder / "query")
    data = folder / "data"
    n_zeros = sum(_write_part(source, part, data) for part in source.parts())
    for name, kind in source.kinds.items():
        if kind in LEXICAL:
            _write_postings(source, name, data)
    write_text(folder / "schema.sql", pgvector_sql.schema(source))
    write_text(folder / "indexes.sql", pgvector_sql.indexes(source))
    write_text(folder / "functions.sql", pgvector_sql.functions(source))
    write_text(folder / "hnsw.sql", pgvector_sql.hnsw(source))
    write_text(folder / "load.sql", _load_script(data))
    shutil.copyfile(reader.__file__, folder / "search.py")
    lines = ["load it with: psql DATABASE -f load.sql, or with --url postgresql://..., which also checks the results"]
    if n_zeros:
        lines.append(
            f"{counted(n_zeros, 'document has', 'documents have')} zero bytes, which PostgreSQL cannot store: "
            "replaced by U+FFFD"
        )
    return Written(_counts(data), {"zero_bytes": n_zeros}, lines)


def load(source: Source, folder: Path, *, url: str) -> dict[str, Any]:
    """Load it into a database, replacing an earlier export, and check what the database finds."""
    psycopg = needed("psycopg", "Loading into PostgreSQL", "pgvector")
    try:
        with psycopg.connect(url, client_encoding="utf8") as connection:
            _run(connection, folder / "schema.sql")
            _copy_files(connection, _files(folder / "data"))
            for what, expected in _counts(folder / "data").items():
                table = what.replace(" ", "_")
                (count,) = connection.execute(f"select count(*) from acclimate.{table}").fetchone()
                if count != expected:
                    raise DataError(f"{counted(count, 'row')} in acclimate.{table}; expected {expected:,}", path=folder)
            distributed.say("export", "PostgreSQL: building indexes")
            _run(connection, folder / "indexes.sql")
            _run(connection, folder / "functions.sql")
            search = reader.searcher(connection, folder)
            exact = check(source, search)
            distributed.say("export", "PostgreSQL: building the HNSW index of dense vectors")
            _run(connection, folder / "hnsw.sql")
            indexed = check(source, search)
    except psycopg.Error as error:
        raise AcclimateError(f"PostgreSQL says: {str(error).strip()}") from None
    lines = [line(exact, "PostgreSQL without HNSW"), line(indexed, "PostgreSQL with HNSW")]
    return {"exact": exact, "indexed": indexed, "lines": lines}


def _copy_files(connection: Any, paths: Sequence[Path]) -> None:
    progress = Progress("export", "bytes loaded")
    done, total = 0, sum(path.stat().st_size for path in paths)
    for path in paths:
        with connection.cursor().copy(_copy(path)) as copy, path.open("rb") as rows:
            while block := rows.read(_BLOCK):
                copy.write(block)
                done += len(block)
                progress(done, total)


def _run(connection: Any, script: Path) -> None:
    connection.execute(script.read_text(encoding="utf-8"))


def _files(data: Path) -> list[Path]:
    return sorted(path for path in data.iterdir() if _FILE.fullmatch(path.name))


def _table(path: Path) -> str:
    match = _FILE.fullmatch(path.name)
    assert match is not None
    return match["table"]


def _counts(data: Path) -> dict[str, int]:
    """Table -> number of rows."""
    counts: dict[str, int] = {}
    for path in _files(data):
        what = _table(path).replace("_", " ")
        counts[what] = counts.get(what, 0) + count_rows(path)
    return counts


def _copy(path: Path, source: str = "stdin") -> str:
    return f"copy acclimate.{_table(path)} from {source}{' (format binary)' if path.suffix == BINARY else ''}"


def _load_script(data: Path) -> str:
    """The script load.sql for psql, which reads the files itself."""
    copies = ["\\" + _copy(path, f"'data/{path.name}'") for path in _files(data)]
    begin = ["-- In this folder: psql DATABASE -f load.sql", "\\set ON_ERROR_STOP on", "\\encoding UTF8", "begin;"]
    return "\n".join(
        [*begin, "\\ir schema.sql", *copies, "\\ir indexes.sql", "\\ir functions.sql", "\\ir hnsw.sql", "commit;", ""]
    )


def _write_part(source: Source, part: Part, data: Path) -> int:
    """Write the missing files of a part; returns how many of its documents have zero bytes."""
    for doc in part.documents:
        if "\0" in doc.id:
            raise DataError(f"the id {quoted(doc.id)} has a zero byte, which PostgreSQL cannot hold; expected none")
    if not (path := data / f"documents-{part.number:05}{TEXT}").exists():
        write_lines(path, map(text_line, part.documents))
    numbers = source.numbers[part.span].astype(np.int32)
    for name, kind in source.kinds.items():
        table, end = identifier(name), f"{part.number:05}{BINARY}"
        if kind == DENSE and not (path := data / f"{table}_vectors-{end}").exists():
            write_binary(path, {"doc": numbers, "vector": source.dense_vectors(name, part)})
        elif kind == LATE_INTERACTION and not (path := data / f"{table}_tokens-{end}").exists():
            write_binary(path, _token_columns(source.token_vectors(name, part), numbers))
    return sum("\0" in doc.text or "\0" in doc.title for doc in part.documents)


def _token_columns(tokens: TokenVectors, numbers: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
    lengths = np.diff(tokens.starts)
    return {
        "doc": np.repeat(numbers, lengths),
        "place": (np.arange(len(tokens.vectors)) - np.repeat(tokens.starts[:-1], lengths)).astype(np.int32),
        "scale": np.asarray(tokens.scales, np.float32),
        "vector": tokens.vectors.astype(np.float16),
    }


def _write_postings(source: Source, name: str, data: Path) -> None:
    postings, table = postings_of(source.system.members[name]), identifier(name)
    if not (path := data / f"{table}_terms-00000{TEXT}").exists():
        write_lines(path, (text_line(row) for row in enumerate(postings.words) if row[1]))
    for number, entries in enumerate(postings.blocks()):
        if not (path := data / f"{table}_postings-{number:05}{BINARY}").exists():
            docs = source.numbers[entries.rows].astype(np.int32)
            write_binary(path, {"term": entries.terms.astype(np.int32), "doc": docs, "weight": entries.weights})
