"""The files of the field, read and written. One module per family; the two functions here choose by the file's name."""

from __future__ import annotations

from pathlib import Path

from acclimate.base.errors import DataError
from acclimate.corpus.formats import beir, tables
from acclimate.corpus.formats.any_format import Training, are_rated, read_any_nway, read_any_synthetic, read_any_written
from acclimate.corpus.formats.beir import read_qrels, write_corpus, write_qrels, write_queries
from acclimate.corpus.formats.fields import Located
from acclimate.corpus.formats.folder import read_folder
from acclimate.corpus.formats.nway import read_nway, write_nway
from acclimate.corpus.formats.prompt_examples import read_prompt_examples
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
    """The docs of a JSON Lines, CSV, TSV or Parquet file, streamed in its order, columns by name."""
    return (beir if _is_jsonl(path) else tables).read_corpus(path)


def read_queries(path: Path) -> list[Query]:
    """The queries of a JSON Lines, CSV, TSV or Parquet file in its order, columns by name."""
    return (beir if _is_jsonl(path) else tables).read_queries(path)


def _is_jsonl(path: Path) -> bool:
    name = path.name.lower()
    if path.is_file() and not name.endswith(JSONL + TABLES):
        raise DataError(
            f"what this file is cannot be told; its name must end in {', '.join(JSONL + TABLES)}", path=path
        )
    return not name.endswith(TABLES)
