"""The files of the field, read and written. One module per family; the two functions here choose by the file's name,
and, of a TSV file, by whether its columns have names: those of ColBERT, LoTTE and InPars have none.
"""

from __future__ import annotations

from pathlib import Path

from acclimate.base.errors import DataError
from acclimate.corpus.formats import beir, fields, headless, tables
from acclimate.corpus.formats.any_format import Training, are_rated, read_any_nway, read_any_synthetic, read_any_written
from acclimate.corpus.formats.beir import read_qrels, write_corpus, write_qrels, write_queries
from acclimate.corpus.formats.fields import Field, Located
from acclimate.corpus.formats.folder import read_folder
from acclimate.corpus.formats.nway import read_nway, write_nway
from acclimate.corpus.formats.prompt_examples import read_prompt_examples
from acclimate.corpus.formats.registry import conversion_of
from acclimate.corpus.formats.samples import is_texts, look
from acclimate.corpus.formats.synthetic import read_synthetic, synthetic_id, write_synthetic
from acclimate.corpus.formats.trec import read_run, write_run
from acclimate.records import Doc, Query

JSONL = (".jsonl", ".jsonl.gz")
TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")

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
    """The docs of a JSON Lines, CSV, TSV or Parquet file, streamed in its order, columns by name if they have one."""
    if _is_headless(path, fields.DOC_ID, fields.DOC_TEXT):
        return headless.located_docs(path)
    return (beir if _is_jsonl(path) else tables).read_corpus(path)


def read_queries(path: Path) -> list[Query]:
    """The queries of a JSON Lines, CSV, TSV or Parquet file in its order, columns by name if they have one."""
    if _is_headless(path, fields.QUERY_ID, fields.QUERY_TEXT):
        return headless.listed_queries(path)
    return (beir if _is_jsonl(path) else tables).read_queries(path)


def _is_jsonl(path: Path) -> bool:
    name = path.name.lower()
    if path.is_file() and not name.endswith(JSONL + TABLES):
        raise DataError(
            f"what this file is cannot be told; its name must end in {', '.join(JSONL + TABLES)}{conversion_of(path)}",
            path=path,
        )
    return not name.endswith(TABLES)


def _is_headless(path: Path, id_column: Field, text_column: Field) -> bool:
    """True for a TSV file whose first line is a row like the others: a number or a text of words, and no name."""
    if not path.name.lower().endswith((".tsv", ".tsv.gz")) or not path.is_file():
        return False
    sample = look(path)
    if not is_texts(sample):
        return False
    doc_id, text, *_ = sample.cells[0]
    is_row = doc_id.isdecimal() or " " in text.strip()
    return is_row and doc_id.casefold() not in id_column.names and fields.closest([text], text_column) is None
