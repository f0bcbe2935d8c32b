"""Fields and columns are read by their names, not by their positions."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from test_formats import put, put_rows, refusal

from acclimate.corpus import formats
from acclimate.records import Doc, Qrel, Query, ScoredDoc


@pytest.mark.parametrize("name", ["test.csv", "test.jsonl", "test.parquet"])
def test_judgments_are_read_by_name_whatever_carries_them(tmp_path: Path, name: str) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path, row = tmp_path / name, {"query-id": "q 1", "corpus-id": "007", "score": 2}
    if name == "test.parquet":
        parquet.write_table(pa.Table.from_pylist([row]), path)
    else:
        put(path, json.dumps(row) if name == "test.jsonl" else 'query-id,corpus-id,score\n"q 1",007,2\n')
    assert formats.read_qrels(path) == [Qrel("q 1", "007", 2)]


def test_a_ranking_of_colbert_is_a_run(tmp_path: Path) -> None:
    path = put(tmp_path / "ranking.tsv", "0\t7\t1\t3.5\n0\t9\t2\t1.25\n")
    assert list(formats.read_run(path)) == [ScoredDoc("0", "7", 3.5), ScoredDoc("0", "9", 1.25)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0\tlava erupts\n1\tsnow creeps downhill\n", [Doc("0", "lava erupts"), Doc("1", "snow creeps downhill")]),
        ("7\tlava\n8\tsnow creeps\n", [Doc("7", "lava"), Doc("8", "snow creeps")]),
        (
            "d1\tlava erupts\tVolcano\nd2\tsnow creeps\t\n",
            [Doc("d1", "lava erupts", "Volcano"), Doc("d2", "snow creeps")],
        ),
    ],
)
def test_a_tsv_whose_columns_have_no_names_is_read_as_its_rows_are(tmp_path: Path, content: str, expected: Any) -> None:
    path = put(tmp_path / "collection.tsv", content)
    assert list(formats.read_corpus(path)) == expected
    assert formats.read_queries(path) == [Query(doc.doc_id, doc.text) for doc in expected]


@pytest.mark.parametrize("header", ["ID\tDocument text", "docno\tbody of it", "number\tthe text", "nr\twords"])
def test_names_that_are_not_known_are_no_row(tmp_path: Path, header: str) -> None:
    path = put(tmp_path / "c.tsv", f"{header}\n1\tlava erupts\n2\tsnow creeps\n")
    assert refusal(lambda: formats.read_corpus(path)).startswith(f"{path}:1: no document ")


def test_the_order_of_keys_and_columns_changes_nothing(tmp_path: Path) -> None:
    row = {"_id": "1", "title": "T", "text": "X", "metadata": {"_id": "no"}, "url": "u"}
    for seed in range(10):
        keys = random.Random(seed).sample(list(row), len(row))
        path = put(tmp_path / "c.jsonl", json.dumps({key: row[key] for key in keys}))
        assert list(formats.read_corpus(path)) == [Doc("1", "X", "T")]
        path = put_rows(tmp_path / "c.csv", [keys, [str(row[key]) for key in keys]])
        assert list(formats.read_corpus(path)) == [Doc("1", "X", "T")]
    path = put(tmp_path / "q.tsv", "score\tcorpus-id\tquery-id\n0\td\tq\n")
    assert formats.read_qrels(path) == [Qrel("q", "d", 0)]


@pytest.mark.parametrize("name", ["_id", "doc_id", "docid", "docno", "id"])
def test_a_few_other_names_of_the_id_are_known(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / "c.jsonl", json.dumps({name: 17, "contents": "x", "title": None}))
    assert list(formats.read_corpus(path)) == [Doc("17", "x")]


@pytest.mark.parametrize("name", ["contents", "Content", "body", "document_text", "doc_text", "passage"])
def test_a_few_other_names_of_the_text_are_known(tmp_path: Path, name: str) -> None:
    path = put_rows(tmp_path / "c.csv", [["id", "author", name], ["1", "a", "x"]])
    assert list(formats.read_corpus(path)) == [Doc("1", "x")]


def test_two_names_for_one_field_are_refused_unless_one_is_ours(tmp_path: Path) -> None:
    path = put(tmp_path / "c.jsonl", '{"id": "1", "docno": "2", "text": "x"}')
    assert refusal(lambda: formats.read_corpus(path)).startswith(f"{path}:1: 'docno' and 'id' could both be")
    put(path, '{"id": "1", "_id": "2", "text": "x"}')
    assert list(formats.read_corpus(path)) == [Doc("2", "x")]
