"""Read and write the files of the field. One module per family; the functions here choose between them by the file's
name, and by its content for files without a header, as those of ColBERT, LoTTE and InPars.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError
from acclimate.base.files import read_lines
from acclimate.corpus.formats import beir, colbert, fields, headerless, sgml, tables, trec
from acclimate.corpus.formats.any_format import Training, are_rated, read_any_nway, read_any_synthetic, read_any_written
from acclimate.corpus.formats.beir import read_qrels, write_corpus, write_qrels, write_queries
from acclimate.corpus.formats.data_files import JSONL, TABLES, is_data
from acclimate.corpus.formats.fields import Field, Located, Place
from acclimate.corpus.formats.folder import advice_on, read_folder
from acclimate.corpus.formats.nway import read_nway, write_nway
from acclimate.corpus.formats.prompt_examples import read_prompt_examples
from acclimate.corpus.formats.registry import DOCS, QUERIES, conversion_of
from acclimate.corpus.formats.samples import ROWS, Sample, are_texts, is_ranking, look
from acclimate.corpus.formats.synthetic import read_synthetic, synthetic_id, write_synthetic
from acclimate.corpus.formats.trec import write_run
from acclimate.records import Doc, Query, ScoredDoc

__all__ = [
    "Located",
    "Training",
    "are_rated",
    "read_any_nway",
    "read_any_synthetic",
    "read_any_written",
    "read_corpus",
    "read_folder",
    "read_nway",
    "read_parts",
    "read_prompt_examples",
    "read_qrels",
    "read_queries",
    "read_run",
    "read_synthetic",
    "synthetic_id",
    "write_corpus",
    "write_nway",
    "write_qrels",
    "write_queries",
    "write_run",
    "write_synthetic",
]


def read_corpus(path: Path) -> Located[Doc]:
    """Stream the docs of a JSON Lines, CSV, TSV or Parquet file, with or without a header, or of TREC's SGML under any
    name; in the order of the file."""
    if _is_headerless(path, fields.DOC_ID, fields.DOC_TEXT):
        return Located(headerless.docs(path))
    if _is_sgml(path, sgml.are_docs):
        return Located(sgml.docs(path))
    return (beir if _is_jsonl(path, DOCS) else tables).read_corpus(path)


def read_parts(paths: Sequence[Path]) -> Located[Doc]:
    """Stream the docs of the parts of a file, one part after the other."""
    dropped: Counter[str] = Counter()

    def rows() -> Iterator[tuple[Place, Doc, Mapping[str, Any]]]:
        for path in paths:
            docs = read_corpus(path)
            for doc in docs:
                yield docs.place or Place(path), doc, docs.others
            dropped.update(docs.dropped)

    return Located(rows(), dropped=dropped)


def read_queries(path: Path) -> list[Query]:
    """The queries of a JSON Lines, CSV, TSV or Parquet file, with or without a header, or of TREC's topics under any
    name; in the order of the file."""
    if _is_headerless(path, fields.QUERY_ID, fields.QUERY_TEXT):
        return headerless.queries(path)
    if _is_sgml(path, sgml.are_topics):
        return sgml.queries(path)
    return (beir if _is_jsonl(path, QUERIES) else tables).read_queries(path)


def read_run(path: Path) -> Located[ScoredDoc]:
    """Stream the hits of a TREC run or a ranking of ColBERT in the file's order. Lines of a query stand together."""
    sample = _sample(path)
    return Located(colbert.ranking(path)) if sample and is_ranking(sample) else trec.read_run(path)


def _is_unnamed(path: Path) -> bool:
    """True for a file whose name has no known suffix."""
    return path.is_file() and not is_data(path)


def _is_jsonl(path: Path, kind: str) -> bool:
    if _is_unnamed(path):
        raise DataError(
            f"unknown format; the name must end in {', '.join(JSONL + TABLES)}"
            f"{conversion_of(path, kind) or advice_on(path, kind=kind)}",
            path=path,
        )
    return not path.name.lower().endswith(TABLES)


def _is_sgml(path: Path, matches: Callable[[Sample], int]) -> bool:
    if not _is_unnamed(path):
        return False
    lines: list[str] = []
    with suppress(DataError):  # bytes that are not UTF-8 behind the first tags, as in old collections: its reader tells
        for _, line in islice(read_lines(path), ROWS):
            lines.append(line)
    return matches(Sample("lines", frozenset(), lines)) > 0


def _is_headerless(path: Path, id_column: Field, text_column: Field) -> bool:
    """True for a TSV file whose first line is a row like the others, with a number or text of words, and no header."""
    sample = _sample(path) if path.name.lower().endswith((".tsv", ".tsv.gz")) else None
    if sample is None or not are_texts(sample):  # an id that comes twice is for its reader to refuse
        return False
    row_id, text, *_ = sample.cells[0]
    is_row = row_id.isdecimal() or " " in text.strip()
    return is_row and row_id.casefold() not in id_column.names and fields.closest([text], text_column) is None


def _sample(path: Path) -> Sample | None:
    """A sample of the file; None if it cannot be read (its reader reports why)."""
    try:
        return look(path)
    except DataError:
        return None
