"""Collections: each name gives its documents, a changed byte is noticed, and what does not fit together is refused."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acclimate.base.errors import AcclimateError, MissingExtra, SettingError
from acclimate.corpus import collections, formats, named
from acclimate.corpus.collections import Collection, load
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats import beir, trec
from acclimate.corpus.formats.collection_files import read_beir
from acclimate.records import Doc, Qrel, Query

DOCS = [Doc("001", 'a "quoted"\ttext', "One"), Doc("1e5", "two\nlines", ""), Doc("a/b", "three {}", "3")]
QUERIES = [Query("q1", "one?"), Query("q2", "two?"), Query("q3", "unjudged")]
QRELS = [Qrel("q1", "001", 2), Qrel("q1", "a/b", 0), Qrel("q2", "1e5", 1)]

# documents, queries, judgments by split; first, tenth and last document
REAL = {
    "cacm": (3204, 64, {"test": 796}, ("1", "10", "3204")),
    "cisi": (1460, 112, {"test": 3114}, ("1", "10", "1460")),
    "climate-fever-sent": (5240, 1535, {"test": 5305}, None),
    "cranfield": (1400, 225, {"test": 1837, "test.strict": 1612}, ("1", "10", "1400")),
    "liveqa-med": (17908, 104, {"test": 2311}, None),
    "nfcorpus": (3395, 3244, {"dev": 11385, "test": 12334, "train": 110075}, None),
    "npl": (11429, 93, {"test": 2083}, ("1", "10", "11429")),
    "scifact": (5183, 1109, {"test": 339, "train": 919}, ("4983", "70490", "198309074")),
}


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
        ("a.pdf", "pdftotext"),
        ("a.docx", "pandoc"),
        ("a.jsonl.zst", "unpack it"),
        ("a.zip", "unpack it"),
        ("a.xlsx", "save it as CSV"),
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
        assert collection.corpus.dropped == {".doc file type": 1, "empty file": 1}


def test_the_second_run_opens_what_the_first_built(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folder, cache)
    monkeypatch.setattr(collections, "read_corpus", None)
    assert content(load(folder, cache)) == content(first)
    moved = folder.rename(folder.with_name("moved"))
    assert load(moved, cache).corpus.source == str(moved / "corpus.jsonl")


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
        ('{"_id": "001", "text": "x"}', "'001' is there twice, first in line 1"),
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
    (tmp_path / "c.pdf").touch()
    assert "its name must end in .jsonl" in refusal(lambda: load(tmp_path / "c.pdf", cache))
    (tmp_path / "none").mkdir()
    assert "no documents in this folder" in refusal(lambda: load(tmp_path / "none", cache))
    assert "no such file" in refusal(lambda: load(folder, cache, queries=tmp_path / "no.jsonl"))
    assert "no such file" in refusal(lambda: load(folder, cache, qrels=tmp_path / "no.tsv"))


# ir_datasets: a stand-in with its interface


def dataset(docs: Any = None, queries: Any = None, qrels: Any = None) -> SimpleNamespace:
    parts = {"docs": docs, "queries": queries, "qrels": qrels}
    has = {f"has_{name}": (lambda part=part: part is not None) for name, part in parts.items()}
    return SimpleNamespace(**has, **{f"{name}_iter": (lambda part=part: iter(part)) for name, part in parts.items()})


@pytest.fixture
def ir_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    part = dataset(DOCS, QUERIES, [*QRELS, Qrel("q3", "gone", 1)])
    page = SimpleNamespace(doc_id="p", url="u", default_text=lambda: "all of it")
    known = {"x": dataset(DOCS, QUERIES), "x/test": part, "web": dataset([page])}
    known |= {name.replace("x", "beir/nfcorpus"): known[name] for name in ("x", "x/test")}
    monkeypatch.setitem(sys.modules, "ir_datasets", SimpleNamespace(__version__="1", load=known.__getitem__))  # pyright: ignore[reportArgumentType]


@pytest.mark.usefixtures("ir_datasets")
def test_an_ir_dataset_is_a_collection(cache: Path) -> None:
    for name in ("irds:x", "irds:x/test", "irds:x"):
        collection = load(name, cache)
        assert content(collection) == (DOCS, QUERIES, {"test": QRELS})
    assert content(load("irds:web", cache)) == ([Doc("p", "all of it")], [], {})
    with pytest.raises(SettingError, match="no documents named 'y'"):
        load("irds:y", cache)


def test_without_ir_datasets_the_error_says_what_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    for name in ("irds:beir/scifact", "beir/scifact", "lotte/lifestyle/dev/search"):
        with pytest.raises(MissingExtra, match=r"pip install 'acclimate\[datasets\]'"):
            load(name, cache)


@pytest.mark.parametrize(
    ("name", "dataset_id"),
    [
        *((f"beir/{name}", f"beir/{name}") for name in "scifact nq msmarco webis-touche2020/v2 scifact/train".split()),
        ("beir/trec_covid", "beir/trec-covid"),
        ("beir/dbpedia", "beir/dbpedia-entity"),
        ("BEIR/Climate_FEVER", "beir/climate-fever"),
        ("beir/scifacts", "beir/scifact"),
        ("beir/touche", "beir/webis-touche2020"),
        ("beir/cqadupstack/android", "beir/cqadupstack/android"),
        ("lotte/lifestyle/dev/search", "lotte/lifestyle/dev/search"),
        ("lotte/pooled/test/forum/", "lotte/pooled/test/forum"),
    ],
)
def test_a_usual_name_is_the_id_of_ir_datasets(name: str, dataset_id: str) -> None:
    assert named.is_named(name) and named.ir_datasets_id(name) == dataset_id


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("beir/scifakt", "no collection of BEIR named 'scifakt'. Did you mean 'scifact'? There are: arguana, bioasq"),
        ("beir", "no collection of BEIR named"),
        ("beir/robust04", "beir/robust04: the owners of its documents do not let others pass them on"),
        ("beir/signal", "beir/signal1m: the owners"),
        ("beir/cqadupstack", "is twelve collections, whose measures are averaged; name one: beir/cqadupstack/android"),
        ("beir/cqadupstack/andriod", "Did you mean 'android'?"),
        ("lotte/livestyle/dev/search", "no domain of LoTTE named 'livestyle'. Did you mean 'lifestyle'?"),
        ("lotte/lifestyle/train/search", "no split of LoTTE named 'train'"),
        (
            "lotte/lifestyle/dev",
            "no kind of LoTTE's queries named ''. There are: forum, search; a whole name is lotte/",
        ),
        ("lotte/lifestyle/dev/search/test", "did you mean lotte/lifestyle/dev/search?"),
        ("beir/scifact/dev", "ir_datasets has no documents named 'beir/scifact/dev'"),
        ("scifact", "Did you mean 'beir/scifact'?"),
        ("trec_covid", "Did you mean 'beir/trec-covid'?"),
        ("/no/such/folder/scifact", "Did you mean 'beir/scifact'?"),
    ],
)
@pytest.mark.usefixtures("ir_datasets")
def test_a_name_that_is_none_is_refused_with_the_nearest(name: str, said: str, cache: Path) -> None:
    assert said in refusal(lambda: load(name, cache))


@pytest.mark.usefixtures("ir_datasets")
def test_a_usual_name_is_a_collection_and_what_is_there_comes_first(
    cache: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    by_name = load("beir/nfcorpus", cache)
    assert by_name.name == "beir/nfcorpus" and content(by_name) == (DOCS, QUERIES, {"test": QRELS})
    assert not collections.is_path("beir/nfcorpus") and collections.located("beir/nfcorpus") == "beir/nfcorpus"
    folder.rename(tmp_path / "nfcorpus")
    (tmp_path / "beir").mkdir()
    (tmp_path / "nfcorpus").rename(tmp_path / "beir" / "nfcorpus")
    assert load("beir/nfcorpus", cache).qrels.keys() == {"test", "train"}
    assert collections.located("beir/nfcorpus") == str(tmp_path / "beir" / "nfcorpus")


@pytest.mark.parametrize("part", ["docs", "queries", "qrels"])
def test_a_download_that_fails_says_so_in_one_line_and_leaves_nothing(
    part: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> Any:
        raise ConnectionError("HTTPSConnectionPool(host='x'):\nMax retries exceeded")
        yield

    whole = dataset(DOCS, QUERIES, QRELS)
    setattr(whole, f"{part}_iter", fails)
    module = SimpleNamespace(__version__="1", load=lambda name: whole)
    monkeypatch.setitem(sys.modules, "ir_datasets", module)  # pyright: ignore[reportArgumentType]
    message = refusal(lambda: load("beir/scifact/test", cache))
    assert message.startswith("beir/scifact/test: could not be downloaded or read: HTTPSConnectionPool(host='x'): Max")
    assert "\n" not in message and not list(cache.glob("*.part"))
    setattr(whole, f"{part}_iter", lambda: iter({"docs": DOCS, "queries": QUERIES, "qrels": QRELS}[part]))
    assert content(load("beir/scifact/test", cache)) == (DOCS, QUERIES, {"test": QRELS})


def test_pydocs_is_a_collection(cache: Path) -> None:
    from acclimate.corpus import pydocs

    if not hasattr(pydocs, "qrels"):
        pytest.skip("pydocs has no judgments yet")
    collection = load("pydocs", cache)
    assert "json.dumps" in collection.corpus and collection.queries and collection.qrels


# Real collections, where there are any


@pytest.mark.parametrize("name", REAL)
def test_a_real_collection_loads_whole(name: str, cache: Path) -> None:
    home = Path(os.environ.get("ACCLIMATE_DATA", "")) / name
    if "ACCLIMATE_DATA" not in os.environ or not home.is_dir():
        pytest.skip(f"{name}: not in $ACCLIMATE_DATA")
    n_docs, n_queries, n_qrels, ids = REAL[name]
    collection = load(home, cache)
    assert len(collection.corpus) == n_docs and len(collection.queries) == n_queries
    assert {split: len(qrels) for split, qrels in collection.qrels.items()} == n_qrels
    if ids:
        assert tuple(collection.corpus.ids[at] for at in (0, 9, -1)) == ids
    assert collection.corpus.blank == (("471", "995") if name == "cranfield" else ())
    lines = (home / "corpus.jsonl").read_text(encoding="utf-8").split("\n")
    expected = [Doc(row["_id"], row["text"], row["title"]) for row in map(json.loads, filter(None, lines))]
    assert list(collection.corpus.values()) == expected
    beir.write_corpus(home := cache / "again.jsonl", collection.corpus.values())
    assert Corpus.of(beir.read_corpus(home)).fingerprint == collection.corpus.fingerprint


# LoTTE, as it is published


@pytest.fixture
def lotte_folder(tmp_path: Path) -> Path:
    home = tmp_path / "lotte" / "lifestyle" / "dev"
    home.mkdir(parents=True)
    (home / "collection.tsv").write_text('0\ta "quoted text\n1\tno, 001\n2\tthe third\n')
    for kind, pids in (("search", [0, 2]), ("forum", [1])):
        (home / f"questions.{kind}.tsv").write_text(f"0\twhat {kind}\n7\tunanswered\n")
        (home / f"qas.{kind}.jsonl").write_text(
            json.dumps({"qid": 0, "query": f"what {kind}", "answer_pids": pids}) + "\n"
        )
    return home


def test_a_folder_of_lotte_is_a_collection_for_each_kind_of_its_queries(lotte_folder: Path, cache: Path) -> None:
    docs = [Doc("0", 'a "quoted text'), Doc("1", "no, 001"), Doc("2", "the third")]
    for kind, pids in (("search", "02"), ("forum", "1")):
        for _ in range(2):
            collection = load(lotte_folder / kind, cache)
            qrels = [Qrel("0", pid, 1) for pid in pids]
            assert content(collection) == (docs, [Query("0", f"what {kind}")], {"test": qrels})
            assert collection.name == f"lifestyle/dev/{kind}"
    message = refusal(lambda: load(lotte_folder, cache))
    assert f"several kinds, which number them alike; name {lotte_folder}/forum or {lotte_folder}/search" in message
    for file in lotte_folder.glob("*.forum.*"):
        file.unlink()
    assert load(lotte_folder, cache).queries == [Query("0", "what search")]
    assert "no queries of the kind forum; there are search" in refusal(lambda: load(lotte_folder / "forum", cache))


def test_a_folder_of_lotte_comes_before_the_collection_of_that_name(
    lotte_folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "lotte/lifestyle/dev/search"
    assert collections.is_path(name) and collections.path_of(name) == Path("lotte/lifestyle/dev")
    assert load(name, cache).queries == [Query("0", "what search")]
    assert collections.located(name) == str(lotte_folder / "search")


def test_queries_without_answers_and_copies_with_grades_are_read(lotte_folder: Path, cache: Path) -> None:
    for file in lotte_folder.glob("qas.*"):
        file.unlink()
    collection = load(lotte_folder / "search", cache)
    assert (collection.queries, collection.qrels) == ([Query("0", "what search"), Query("7", "unanswered")], {})
    for file in lotte_folder.glob("questions.*"):
        file.unlink()
    assert load(lotte_folder, cache).queries == []
    row = {"qid": "q", "query": "a query", "answer_pids": [2, 0], "answer_scores": [2, 1]}
    (lotte_folder / "qas.jsonl").write_text(json.dumps(row) + "\n")
    assert load(lotte_folder, cache).qrels == {"test": [Qrel("q", "2", 2), Qrel("q", "0", 1)]}
    row["answer_pids"] = [3, 0]
    (lotte_folder / "qas.jsonl").write_text(json.dumps(row) + "\n")
    assert "document '3' is judged here and is not in the corpus" in refusal(lambda: load(lotte_folder, cache))
