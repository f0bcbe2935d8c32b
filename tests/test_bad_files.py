"""Files that cannot be read: the place, what was found there, and what to do about it."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from published import put_saved
from test_formats import put, refusal

from acclimate.base.errors import AcclimateError
from acclimate.base.files import read_lines
from acclimate.corpus import formats
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats import tables, trec
from acclimate.corpus.formats.collection_files import read_llama_index
from acclimate.corpus.formats.rows import objects
from acclimate.records import ScoredDoc


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('{"_id": "2", "text": ', "not JSON"),
        ("<!doctype html>", "not JSON: Expecting value at column 1 of '<!doctype html>'"),
        ('{"_id": "2", "text": "\x01"}', "not JSON: Invalid control character at column 23"),
        ("1", "found 1; expected a JSON object"),
        ("[1]", "found a JSON list; expected a JSON object per line"),
        ('{"text": "x"}', "no document id: found \"text\"; expected '_id'"),
        ('{"_id ": "2", "text": "x"}', "Remove the blanks around '_id '"),
        ('{"_id": "2", "txet": "x"}', 'The closest is "txet"'),
        ('{"_id": "2", "Text": "x"}', 'The closest is "Text"'),
        ('{"_id": "2", "Überschrift": "x"}', 'found "_id", "Überschrift"; expected'),
        ('{"_id": "2", "text\\u202e": "x"}', 'found "_id", "text\\u202e"; expected'),
        ('{"_id": "2"}', "no document text"),
        ('{"_id": "", "text": "x"}', "'_id' is \"\""),
        ('{"_id": null, "text": "x"}', "'_id' is null"),
        ('{"_id": 2.0, "text": "x"}', "'_id' is 2.0; expected an id: text that is not empty, or a whole number"),
        ('{"_id": true, "text": "x"}', "'_id' is true"),
        ('{"_id": ["2"], "text": "x"}', "'_id' is [\"2\"]"),
        ('{"_id": "2", "text": null}', "'text' is null; expected text"),
        ('{"_id": "2", "text": 5}', "'text' is 5; expected text"),
        ('{"_id": "2", "text": "x", "title": 5}', "'title' is 5; expected text"),
        ('{"_id": "2", "text": "\\ud800"}', "'text' has half a surrogate pair"),
        ('{"_id": ' + "1" * 5000 + ', "text": "x"}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"_id": "2", "text": "x", "text": "y"}', "the key 'text' appears twice"),
        (b'{"_id": "2", "text": "caf\xe9"}', "0xe9, which is not UTF-8"),
    ],
)
def test_a_bad_line_of_a_corpus_is_refused_with_its_place(tmp_path: Path, line: str | bytes, field: str) -> None:
    path = tmp_path / "corpus.jsonl"
    put(path, b'{"_id": "1", "text": "x"}\n' + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    message = refusal(lambda: formats.read_corpus(path))
    assert message.startswith(f"{path}:2: ") and field in message and len(message) < 500


def test_the_name_of_one_field_is_not_taken_for_another(tmp_path: Path) -> None:
    path = put(tmp_path / "queries.jsonl", '{"query": "1"}')
    assert refusal(lambda: formats.read_queries(path)).endswith("expected '_id' or 'query_id' or 'qid' or 'id'")


def test_an_id_that_comes_twice_in_a_table_without_names_is_said(tmp_path: Path) -> None:
    """It is no reason to take the first row for names."""
    content = "301\torganized crime\n302\tpolio\n301\twildlife\n"
    path = put(tmp_path / "topics.tsv", content)
    assert "topics.tsv:3: '_id' '301' appears twice, first in line 1" in refusal(lambda: formats.read_queries(path))
    message = refusal(lambda: Corpus.of(formats.read_corpus(path), source=str(path)))
    assert "topics.tsv:3: id '301' appears twice, first in line 1" in message


def test_queries_without_ids_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = put(tmp_path / "queries.txt", "how to fish\n")
    assert "queries need an id each" in refusal(lambda: formats.read_queries(path))


@pytest.mark.parametrize(
    ("content", "line", "field"),
    [
        ("", 0, "no queries"),
        ('{"_id": "1", "text": "a"}\n{"_id": "1", "text": "b"}', 2, "'_id' \"1\" appears twice, first in line 1"),
        ('{"_id": "1", "text": " "}', 1, "'text' of query \"1\" is empty"),
        ('{"_id": "1"}', 1, "no query text"),
        ('{"corpus": "1"}', 1, "no query id"),
    ],
)
def test_bad_queries_are_refused(tmp_path: Path, content: str, line: int, field: str) -> None:
    path = put(tmp_path / "queries.jsonl", content)
    message = refusal(lambda: formats.read_queries(path))
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ") and field.replace('"', "'") in message


@pytest.mark.parametrize(
    ("content", "line", "field"),
    [
        ("", 0, "an empty file; expected the header"),
        ("query-id\tcorpus-id\tscore\n", 0, "no judgments"),
        ("1\t2\t1\n", 1, "no header"),
        ("query-id\tcorpus-id \tscore\n1\t2\t1\n", 1, "Remove the blanks around 'corpus-id '"),
        ("query-id\tcorpusid\tscore\n1\t2\t1\n", 1, 'The closest is "corpusid"'),
        ("query-id corpus-id score\n1 2 1\n", 1, "no query id"),
        ("query-id\tcorpus-id\tscore\n1\t2\n", 2, "found 2 columns; expected 3"),
        ("query-id\tcorpus-id\tscore\n1\t2\t1.5\n", 2, "'score' is \"1.5\"; expected an integer grade"),
        ("query-id\tcorpus-id\tscore\n1\t2\t9999999999\n", 2, "expected an integer grade of at most nine digits"),
        ("query-id\tcorpus-id\tscore\n1\t\t1\n", 2, "'corpus-id' is \"\""),
        ("query-id\tcorpus-id\tscore\n1\t2\t1\n1\t2\t1\n1\t2\t0\n", 4, "graded 0 here and 1 in line 2"),
        ("1 0 2 1\n1 0 3 x\n", 2, "'grade' is \"x\""),
        ("1 0 2 1\n1 0 3\n", 2, "found 3 columns"),
        ("q1 Q0 d1 1 2.5 x\n", 0, "a TREC run; expected judgments"),
        ("q1\tQ0\td1\t1\t2.5\tx\n", 0, "a TREC run; expected judgments"),
    ],
)
def test_bad_qrels_are_refused(tmp_path: Path, content: str, line: int, field: str) -> None:
    path = put(tmp_path / "test.tsv", content)
    message = refusal(lambda: formats.read_qrels(path))
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ") and field in message


@pytest.mark.parametrize(
    ("name", "content", "line", "field"),
    [
        ("c.csv", "", 0, "an empty file"),
        ("c.csv", "doc_id,txt\n1,x\n", 1, 'no document text: found "doc_id", "txt"'),
        ("c.csv", "doc_id;text\n1;x;y\n", 2, "found 3 cells; expected 2"),
        ("c.csv", "doc_id|text\n1|x\n", 1, "It looks as if '|' separated the columns"),
        ("c.csv", "\ufeffdoc_id\ttext\n1\tx\n", 1, "It looks as if '\\t' separated the columns"),
        ("c.csv", "doc_id,text,text\n1,x,y\n", 1, '2 columns are named "text"'),
        ("c.csv", 'doc_id,text\n1,"a\nb"\n2\n', 4, "found 1 cell; expected 2"),
        ("c.csv", 'doc_id,text\n1,a\n2,"b\nc\n', 3, "not CSV"),
        ("c.csv", 'doc_id,text\n,"b"\n', 2, "'doc_id' is \"\""),
        ("c.csv", b"doc_id,text\n1,caf\xe9\n", 2, "not UTF-8"),
        ("c.tsv", "doc_id\ttext\n1\ta\tb\n", 2, "found 3 cells; expected 2"),
        ("c.parquet", "nonsense", 0, "not a readable Parquet file"),
        ("c.jsonl.gz", b"\x1f\x8b\x08\x00 nonsense", 1, "a broken gzip file"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, name: str, content: str | bytes, line: int, field: str) -> None:
    path = put(tmp_path / name, content)
    message = refusal(lambda: formats.read_corpus(path))
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ") and field in message


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("q Q0 d 1 2.5\n", "found 5 columns"),
        ("q Q0 d 1 high tag\n", "'score' is \"high\""),
        ("q Q0 d 1 nan tag\n", "'score' is \"nan\""),
        ("q Q0 d 1 1_0 tag\n", "'score' is \"1_0\""),
        ("q Q0 d 1 \u0663 tag\n", "'score' is \"\u0663\""),
        ("q Q0 e 1 2 t\n\nq Q0 e 2 1 t\n", "doc 'e' appears twice"),
        ("q Q0 d 1 2 t\nr Q0 d 1 2 t\nq Q0 e 2 1 t\n", "query 'q' comes again"),
    ],
)
def test_bad_runs_are_refused(tmp_path: Path, content: str, field: str) -> None:
    path = put(tmp_path / "run.trec", content)
    message = refusal(lambda: formats.read_run(path))
    assert message.startswith(f"{path}:{content.count(chr(10))}: ") and field in message


@pytest.mark.parametrize(
    "run",
    [
        [ScoredDoc("q", "", 1.0)],
        [ScoredDoc("", "a", 1.0)],
        [ScoredDoc("q", "a", math.inf)],
        [ScoredDoc("q", "a", 1.0), ScoredDoc("q", "a", 2.0)],
        [ScoredDoc("q", "a", 1.0), ScoredDoc("r", "a", 2.0), ScoredDoc("q", "b", 2.0)],
    ],
)
def test_a_run_that_trec_cannot_hold_is_not_written(tmp_path: Path, run: list[ScoredDoc]) -> None:
    message = refusal(lambda: [formats.write_run(tmp_path / "run.trec", run)])
    assert repr(run[0].doc_id) in message or repr(run[0].query_id) in message or "is empty" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"doc_ids": ["a"]}, "no query id"),
        ({"query_id": "q"}, "no list of document ids"),
        ({"query_id": "q", "doc_ids": []}, "'doc_ids' is []"),
        ({"query_id": "q", "doc_ids": "ab"}, "'doc_ids' is \"ab\""),
        ({"query_id": "q", "doc_ids": ["a", None]}, "'doc_ids' is null"),
        ({"query_id": "q", "doc_ids": ["a", "b", "a"]}, "'doc_ids' has 'a' twice"),
        ({"query_id": "q", "doc_ids": ["a", "b"], "scores": [1]}, "'scores': found 1 of them"),
        ({"query_id": "q", "doc_ids": ["a", "b"], "scores": [1, None]}, "'scores' is null; expected a number"),
        ({"query_id": "q", "doc_ids": ["a", "b"], "scores": [1, math.nan]}, "'scores' is NaN; expected a number"),
        ({"query_id": "q", "doc_ids": ["a", "b"], "scores": 1}, "'scores': found 1; expected one per document"),
    ],
)
def test_bad_training_examples_are_refused(tmp_path: Path, row: dict[str, Any], field: str) -> None:
    path = put(tmp_path / "n.jsonl", json.dumps({"query_id": "q", "doc_ids": ["a"]}) + "\n" + json.dumps(row))
    message = refusal(lambda: formats.read_nway(path))
    assert message.startswith(f"{path}:2: ") and field in message


READERS = [formats.read_corpus, formats.read_queries, formats.read_qrels, formats.read_run, formats.read_nway]


@pytest.mark.parametrize("read", [*READERS, formats.read_synthetic, tables.read_corpus, trec.read_qrels])
@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.tsv", "x.parquet"])
def test_a_missing_file_and_what_is_in_its_place_are_refused(tmp_path: Path, read: Any, name: str) -> None:
    path = tmp_path / name
    assert refusal(lambda: read(path)) == f"{path}: no such file"
    for pointer, command in (
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("/annex/objects/x", "git annex get"),
    ):
        put(path, pointer)
        assert refusal(lambda: read(path)).endswith(f"fetch the file first: {command}")
    path.unlink()
    path.mkdir()
    assert refusal(lambda: read(path)) == f"{path}: is a directory; expected a file"


def test_a_file_is_checked_where_it_is_named_not_where_it_is_read_first(tmp_path: Path) -> None:
    with pytest.raises(AcclimateError):
        formats.read_corpus(put(tmp_path / "c.jsonl", "{}"))


def test_an_id_that_is_there_twice_in_one_object_is_refused(tmp_path: Path) -> None:
    """Python's own reader would keep the last of two documents, and say nothing."""
    put(tmp_path / "all.json", '{"queries": {"q": "x"}, "relevant_docs": {"q": ["1"]}, "corpus": {"1": "a", "1": "b"}}')
    message = refusal(lambda: list(read_llama_index(tmp_path / "all.json").docs()))
    assert "the key '1' appears twice" in message


def test_line_ends_of_old_macs_are_named(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes(b"one line\ranother\r")
    with pytest.raises(AcclimateError, match="lines end in carriage returns alone"):
        list(read_lines(tmp_path / "log.txt"))
    (tmp_path / "log.txt").write_bytes(b"a cell with \r in it\none line\r\n")
    assert [line for _, line in read_lines(tmp_path / "log.txt")] == ["a cell with \r in it", "one line"]


def test_half_a_gzip_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b'{"_id": "%d", "text": "%d"}\n' % (n, n * n) for n in range(2000)))
    path = put(tmp_path / "c.jsonl.gz", whole[: len(whole) // 2])
    assert "a broken gzip file" in refusal(lambda: formats.read_corpus(path))


def test_a_saved_data_set_that_is_damaged_anywhere_is_read_or_refused(tmp_path):
    """Offsets that point out of a column are found before anything is read by them: Arrow itself would crash."""
    rows = [{"_id": f"d{n}", "text": f"text {n}", "docs": ["a", "b"], "labels": [1.0, 0.5]} for n in range(20)]
    folder = tmp_path / "saved"
    put_saved(folder, rows)
    (file,) = folder.glob("*.arrow")
    whole, refusals = file.read_bytes(), []
    for place in range(0, len(whole), 16):
        for damage in (b"\xff" * 8, bytes(8), b""):
            file.write_bytes(whole[:place] + damage + whole[place + 8 :])
            try:
                assert all(isinstance(row, dict) for _, row in objects(folder))
            except AcclimateError as error:
                refusals.append(str(error))
    assert len(refusals) > 50
    assert all(str(folder) in refusal and "\n" not in refusal for refusal in refusals)
