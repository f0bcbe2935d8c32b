"""Collections of files: each gives its documents, a changed byte is noticed, what does not fit together is refused."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acclimate.base.errors import AcclimateError
from acclimate.corpus import collections, formats
from acclimate.corpus.collections import Collection, load
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats import trec
from acclimate.corpus.formats.collection_files import read_beir, read_qrels
from acclimate.records import Doc, Qrel, Query

DOCS = [Doc("001", 'a "quoted"\ttext', "One"), Doc("1e5", "two\nlines", ""), Doc("a/b", "three {}", "3")]
QUERIES = [Query("q1", "one?"), Query("q2", "two?"), Query("q3", "unjudged")]
QRELS = [Qrel("q1", "001", 2), Qrel("q1", "a/b", 0), Qrel("q2", "1e5", 1)]


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(AcclimateError) as caught:
        call()
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BEIR folder."""
    home = tmp_path / "tiny"
    formats.write_corpus(home / "corpus.jsonl", DOCS)
    formats.write_queries(home / "queries.jsonl", QUERIES)
    formats.write_qrels(home / "qrels" / "test.tsv", QRELS)
    formats.write_qrels(home / "qrels" / "train.tsv", QRELS[2:])
    return home


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def content(collection: Collection) -> tuple[list[Doc], list[Query], dict[str, list[Qrel]]]:
    return list(collection.corpus.values()), collection.queries, collection.qrels


def test_a_beir_folder_brings_its_queries_and_qrels(folder: Path, cache: Path) -> None:
    collection = load(folder, cache)
    assert content(collection) == (DOCS, QUERIES, {"test": QRELS, "train": QRELS[2:]})
    assert collection.name == "tiny" and collection.corpus.source == str(folder / "corpus.jsonl")


def test_a_gzipped_folder_is_the_same_collection(folder: Path, cache: Path) -> None:
    plain = load(folder, cache)
    (folder / "corpus.jsonl").unlink()
    (folder / "queries.jsonl").unlink()
    formats.write_corpus(folder / "corpus.jsonl.gz", DOCS)
    formats.write_queries(folder / "queries.jsonl.gz", QUERIES)
    packed = load(folder, cache)
    assert content(packed) == content(plain) and packed.corpus.fingerprint == plain.corpus.fingerprint
    formats.write_corpus(folder / "corpus.jsonl", DOCS)
    assert "found corpus.jsonl and corpus.jsonl.gz" in refusal(lambda: load(folder, cache))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("qrels/test.tsv.gz", "test"),
        ("qrels/test.txt", "test"),
        ("qrels/dev.trec", "dev"),
        ("qrels/validation.tsv", "dev"),
        ("qrels/test.jsonl", "test"),
        ("qrels/test.parquet", "test"),
        ("qrels/train-00000-of-00001.parquet", "train"),  # as data sets of a hub name it
        ("qrels.tsv", "test"),
        ("qrels.txt", "test"),
    ],
)
def test_judgments_of_a_folder_are_read_in_whatever_layout(folder: Path, cache: Path, name: str, split: str) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    shutil.rmtree(folder / "qrels")
    path, rows = folder / name, [{"query-id": q, "corpus-id": d, "score": float(grade)} for q, d, grade, _ in QRELS]
    path.parent.mkdir(exist_ok=True)
    if name.endswith(".parquet"):
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif name.endswith((".txt", ".trec")):
        trec.write_qrels(path, QRELS)
    else:
        formats.write_qrels(folder / "plain", QRELS)
        content = (folder / "plain").read_bytes()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert load(folder, cache).qrels == {split: QRELS}
    assert {split: [row.record for row in rows()] for split, rows in read_beir(folder).qrels.items()} == {split: QRELS}
    assert {split: [row.record for row in rows()] for split, rows in read_qrels(path).qrels.items()} == {split: QRELS}


def test_judgments_that_no_run_reads_are_refused_and_so_are_two_files_of_one_split(folder: Path, cache: Path) -> None:
    (folder / "qrels" / "train.tsv").unlink()
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "all.tsv")
    assert "has judgments of all, which no run reads; expected those of test, dev, train" in refusal(
        lambda: load(folder, cache)
    )
    for name in ("test.tsv", "test.txt"):
        formats.write_qrels(folder / "qrels" / name, QRELS)
    assert "found test.tsv and test.txt, judgments of one split" in refusal(lambda: load(folder, cache))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.tex", "pandoc"),
        ("a.rtf", "save it as DOCX"),
        ("a.jsonl.zst", "unpack it"),
        ("a.zip", "unpack it"),
        ("a.xlsx", "save it as CSV"),
        ("a.json", "jq -c '.[]'"),
        ("sub/corpus.jsonl", "did you mean {}/sub?"),
    ],
)
def test_what_is_no_corpus_yet_is_refused_with_what_to_do(tmp_path: Path, cache: Path, name: str, advice: str) -> None:
    home = tmp_path / "home"
    (home / name).parent.mkdir(parents=True)
    (home / name).write_bytes(b"PK\x03\x04 or whatever")
    assert advice.format(home) in refusal(lambda: load(home, cache))
    if "/" not in name:
        assert advice in refusal(lambda: load(home / name, cache))


def test_a_text_alone_and_a_list_and_a_data_set_of_the_hub_are_refused_with_what_to_do(
    tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "a.txt").write_text("a text")
    (tmp_path / "a.jsonl").write_text('[{"_id": "1", "text": "x"}]')
    assert "give the folder that it is in" in refusal(lambda: load(tmp_path / "a.txt", cache))
    assert "jq -c '.[]' a.jsonl" in refusal(lambda: load(tmp_path / "a.jsonl", cache))
    for call in (lambda: load("hf:a/b", cache), lambda: collections.check_name("hf:a/b")):
        assert "acclimate convert hf:a/b NEW --to beir" in refusal(call)


def test_files_given_replace_those_of_the_folder(folder: Path, cache: Path, tmp_path: Path) -> None:
    queries, qrels = tmp_path / "mine.csv", tmp_path / "mine.qrels"
    queries.write_text('id,query\n7,"mine, all mine"\n')
    qrels.write_text("7 0 001 3\n")
    mine = load(str(folder), cache, queries=str(queries), qrels=qrels)
    assert content(mine) == (DOCS, [Query("7", "mine, all mine")], {"test": [Qrel("7", "001", 3)]})


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz", "c.csv", "c.tsv", "c.parquet"])
def test_a_single_file_is_a_corpus(tmp_path: Path, cache: Path, name: str) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    table = pa.table({field: [getattr(doc, field) for doc in DOCS] for field in Doc._fields})
    path = tmp_path / name
    if name == "c.parquet":
        parquet.write_table(table, path)
    elif "jsonl" in name:
        formats.write_corpus(path, DOCS)
    else:
        csv.write_csv(table, path, csv.WriteOptions(delimiter="," if name == "c.csv" else "\t"))
    collection = load(path, cache)
    assert content(collection) == (DOCS, [], {})
    assert collection.name == "c" and collection.corpus.fingerprint == Corpus.of(DOCS).fingerprint


def test_a_folder_of_texts_is_a_corpus(tmp_path: Path, cache: Path) -> None:
    home = tmp_path / "notes"
    (home / "a").mkdir(parents=True)
    (home / "a" / "x.txt").write_text("x")
    (home / "y.md").write_text("# Y\ny")
    (home / "empty.txt").touch()
    (home / "z.doc").touch()
    for _ in range(2):
        collection = load(home, cache)
        assert content(collection) == ([Doc("a/x.txt", "x"), Doc("y.md", "y", "Y")], [], {})
        assert collection.corpus.dropped == {".doc file type": 1, "file without text": 1}


def test_the_second_run_opens_what_the_first_built(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folder, cache)
    monkeypatch.setattr(collections, "read_corpus", lambda source: 1 / 0)
    assert content(load(folder, cache)) == content(first)
    moved = folder.rename(folder.with_name("moved"))
    assert load(moved, cache).corpus.source == str(moved / "corpus.jsonl")
    monkeypatch.setattr(collections, "READERS_VERSION", -1)  # the same bytes may be other documents
    with pytest.raises(ZeroDivisionError):
        load(moved, cache)


def test_a_changed_byte_is_noticed_though_size_and_time_are_the_same(folder: Path, cache: Path) -> None:
    corpus, before = folder / "corpus.jsonl", load(folder, cache)
    times = corpus.stat()
    corpus.write_text(corpus.read_text(encoding="utf-8").replace("three", "thr33"), encoding="utf-8")
    os.utime(corpus, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = load(folder, cache)
    assert after.corpus["a/b"].text == "thr33 {}" and before.corpus["a/b"].text == "three {}"
    assert after.corpus.fingerprint != before.corpus.fingerprint


def test_a_changed_or_renamed_text_file_is_noticed(tmp_path: Path, cache: Path) -> None:
    home = tmp_path / "notes"
    home.mkdir()
    (home / "a.txt").write_text("x")
    first = load(home, cache).corpus
    (home / "a.txt").write_text("y")
    assert load(home, cache).corpus["a.txt"].text == "y"
    (home / "a.txt").rename(home / "b.txt")
    assert [*load(home, cache).corpus.ids] == ["b.txt"] and [*first.ids] == ["a.txt"]


def test_qrels_of_documents_that_are_not_there_are_refused(folder: Path, cache: Path) -> None:
    path = folder / "qrels" / "test.tsv"
    formats.write_qrels(path, [*QRELS, Qrel("q1", "1", 1), Qrel("q2", "100000", 1)])
    message = refusal(lambda: load(folder, cache))
    assert message.startswith(f"{path}:5: document '1' is judged here and is not in the corpus; 2 of 5 ")
    assert "'100000'" in message
    formats.write_qrels(path, [Qrel("q1", "1", 1), Qrel("q2", "2", 1)])
    message = refusal(lambda: load(folder, cache))
    assert message.startswith(f"{path}:2: document '1'") and "the corpus would know '001', '1e5', 'a/b'" in message


def test_judgments_that_find_nothing_relevant_are_refused_and_not_passed_over(folder: Path, cache: Path) -> None:
    path = folder / "qrels" / "test.tsv"
    formats.write_qrels(path, [qrel._replace(relevance=-at) for at, qrel in enumerate(QRELS)])
    given = {"queries": folder / "queries.jsonl", "qrels": path}
    for message in (refusal(lambda: load(folder, cache)), refusal(lambda: load(folder, cache, **given))):
        assert message.startswith(f"{path}:2: none of the 3 judgments here is above 0: nothing can be measured")


def test_qrels_of_queries_that_are_not_there_are_refused(folder: Path, cache: Path) -> None:
    path = folder / "qrels" / "train.tsv"
    formats.write_qrels(path, [*QRELS, Qrel("Q1", "001", 1)])
    assert refusal(lambda: load(folder, cache)).startswith(
        f"{path}:5: query 'Q1' is judged here and is not in the queries"
    )
    (folder / "queries.jsonl").unlink()
    assert ":2: a judgment, but there are no queries" in refusal(lambda: load(folder, cache))


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{", "not JSON"),
        ('{"text": "x"}', "no document id"),
        ('{"_id": "001", "text": "x"}', "'001' appears twice, first in line 1"),
        ('{"_id": "x", "text": ""}', "'text' of document 'x' is empty"),
        (b'{"_id": "x", "text": "\xff"}', "not UTF-8"),
    ],
)
def test_a_bad_corpus_is_refused_with_its_line_and_leaves_nothing(
    folder: Path, cache: Path, line: str | bytes, field: str
) -> None:
    path = folder / "corpus.jsonl"
    path.write_bytes(path.read_bytes() + (line if isinstance(line, bytes) else line.encode()))
    message = refusal(lambda: load(folder, cache))
    assert message.startswith(f"{path}:4: ") and field in message
    assert list(cache.iterdir() if cache.exists() else []) == []


def test_empty_files_and_folders_in_place_of_files_are_refused(folder: Path, cache: Path) -> None:
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        path = folder / name
        before = path.read_bytes()
        path.write_bytes(b"")
        assert refusal(lambda path=path: load(folder, cache)).startswith(f"{path}: ")
        path.unlink()
        path.mkdir()
        assert refusal(lambda path=path: load(folder, cache)) == f"{path}: is a directory; expected a file"
        path.rmdir()
        path.write_bytes(before)


def test_a_name_that_is_nothing_is_refused_with_the_nearest(folder: Path, cache: Path, tmp_path: Path) -> None:
    message = refusal(lambda: load(tmp_path / "tinny", cache))
    assert message.startswith(f"{tmp_path / 'tinny'}: no such file or folder. Did you mean {str(folder)!r}?")
    assert "a BEIR folder" in message and ".parquet" in message
    assert "Did you mean 'pydocs'?" in refusal(lambda: load("pydoc", cache))
    (tmp_path / "link").symlink_to("gone")
    assert refusal(lambda: load(tmp_path / "link", cache)).startswith(f"{tmp_path / 'link'}: is a link to nothing; ")
    (tmp_path / "c.pdf").touch()
    assert "the name must end in .jsonl" in refusal(lambda: load(tmp_path / "c.pdf", cache))
    (tmp_path / "none").mkdir()
    assert "no documents in this folder" in refusal(lambda: load(tmp_path / "none", cache))
    assert "no such file" in refusal(lambda: load(folder, cache, queries=tmp_path / "no.jsonl"))
    assert "no such file" in refusal(lambda: load(folder, cache, qrels=tmp_path / "no.tsv"))
