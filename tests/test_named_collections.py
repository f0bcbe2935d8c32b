"""Collections known by a name: those of ir_datasets, ours, LoTTE's, real ones, and names that are none."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_collections import DOCS, QRELS, QUERIES, content, refusal

from acclimate.base.errors import MissingExtra, SettingError
from acclimate.corpus import collections, formats, named_collections
from acclimate.corpus.collections import load
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats import beir
from acclimate.records import Doc, Qrel, Query

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


# ir_datasets: a stand-in with its interface


def dataset(docs: Any = None, queries: Any = None, qrels: Any = None) -> SimpleNamespace:
    parts = {"docs": docs, "queries": queries, "qrels": qrels}
    has = {f"has_{name}": (lambda part=part: part is not None) for name, part in parts.items()}
    return SimpleNamespace(**has, **{f"{name}_iter": (lambda part=part: iter(part)) for name, part in parts.items()})


@pytest.fixture
def ir_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    part = dataset(DOCS, QUERIES, [*QRELS, Qrel("q3", "gone", 1)])
    page = SimpleNamespace(doc_id="p", url="u", default_text=lambda: "all of it")
    known = {"x": dataset(DOCS, QUERIES), "x/test": part, "y/dev": part, "y/judged": part, "web": dataset([page])}
    known |= {name.replace("x", "beir/nfcorpus"): known[name] for name in ("x", "x/test")}
    monkeypatch.setitem(sys.modules, "ir_datasets", SimpleNamespace(__version__="1", load=known.__getitem__))  # pyright: ignore[reportArgumentType]


@pytest.mark.usefixtures("ir_datasets")
def test_an_ir_dataset_is_a_collection(cache: Path) -> None:
    for name in ("irds:x", "irds:x/test", "irds:x"):
        collection = load(name, cache)
        assert content(collection) == (DOCS, QUERIES, {"test": QRELS})
    assert [[*load(f"irds:{name}", cache).qrels] for name in ("y/dev", "y/judged")] == [["dev"], ["test"]]
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
    assert named_collections.is_named(name) and named_collections.ir_datasets_id(name) == dataset_id


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
    # Of headers, ColBERT takes this one.
    (home / "collection.tsv").write_text('id\tpassage\n0\ta "quoted text\n1\tno, 001\n2\tthe third\n')
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
