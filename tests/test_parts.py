"""A corpus in parts: a folder of files of rows, as Spark and the Hugging Face hub write them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from test_formats import refusal

from acclimate.corpus.collections import load
from acclimate.corpus.conversion import convert
from acclimate.corpus.overwriting import refuse_replacing_collection

ROWS = [{"id": f"d{number}", "text": f"text {number}", "year": str(number)} for number in range(24)]


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
        return path
    if kind == "jsonl":
        lines = [json.dumps(row) for row in rows]
    else:
        separator = "," if kind == "csv" else "\t"
        lines = [separator.join(row) for row in (rows[0].keys(), *(row.values() for row in rows))]
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


def in_parts(folder: Path, name: str = "part-{}-0a1b.jsonl") -> Path:
    for number in range(12):
        write(folder / name.format(number), ROWS[2 * number : 2 * number + 2])
    return folder


@pytest.mark.parametrize(
    "name",
    ["part-{}-0a1b.jsonl", "{}.jsonl.gz", "train-{}-of-12.parquet", "docs_{}.csv", "docs.{}.csv.gz", "{}.tsv"],
)
def test_parts_are_the_file_that_was_written_in_parts(tmp_path, name):
    """In the order of their numbers, not of their letters, and without the marks of programs beside them."""
    folder = in_parts(tmp_path / "parts", name)
    (folder / "_SUCCESS").touch()
    (folder / ".part-0.crc").touch()
    (folder / "README.md").write_text("# About the data")
    whole = load(write(tmp_path / f"docs.{name.partition('.')[2].removeprefix('{}.')}", ROWS), tmp_path).corpus
    corpus = load(folder, tmp_path).corpus
    assert list(corpus.values()) == list(whole.values())
    assert list(corpus.fields()) == list(whole.fields()) != []
    assert corpus.fingerprint == whole.fingerprint
    write(folder / name.format(3), [{"id": "new", "text": "text", "year": "1"}])
    assert "new" in load(folder, tmp_path).corpus
    convert(folder, tmp_path / "one.jsonl", source_format="documents", target_format="documents")
    assert load(tmp_path / "one.jsonl", tmp_path).corpus.fingerprint == load(folder, tmp_path).corpus.fingerprint


def test_files_of_other_names_or_kinds_are_no_parts(tmp_path):
    write(tmp_path / "a" / "docs.jsonl", ROWS)
    write(tmp_path / "a" / "queries.jsonl", ROWS)
    assert refusal(lambda: load(tmp_path / "a", tmp_path)).endswith("; give the file that has the documents")
    write(tmp_path / "b" / "docs.csv", ROWS)
    assert refusal(lambda: load(tmp_path / "b", tmp_path)).endswith(f"; did you mean {tmp_path / 'b' / 'docs.csv'}?")
    (in_parts(tmp_path / "c") / "about.txt").write_text("a text")
    assert list(load(tmp_path / "c", tmp_path).corpus) == ["about.txt"]


@pytest.mark.parametrize("card", [False, True])
def test_the_folder_that_has_the_parts_is_named(tmp_path, card):
    folder = in_parts(tmp_path / "set" / "data", "train-{}.parquet")
    if card:
        (tmp_path / "set" / "README.md").write_text("# About the data")
    assert refusal(lambda: load(tmp_path / "set", tmp_path)).endswith(f"; did you mean {folder}?")


def test_errors_name_the_part(tmp_path):
    folder = in_parts(tmp_path / "parts")
    part = write(folder / "part-12-0a1b.jsonl", ROWS[3:4])
    first = "first in line 2 of part-1-0a1b.jsonl"
    assert refusal(lambda: load(folder, tmp_path)) == f"{part}:1: id 'd3' appears twice, {first}; ids must be unique"
    part.write_text('{"id": "x"}\n')
    assert refusal(lambda: load(folder, tmp_path)).startswith(f"{part}:1: ")
    assert "would take the place of what is read" in refusal(lambda: refuse_replacing_collection(part, str(folder)))
