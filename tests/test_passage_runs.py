"""Runs of long documents: queries are written for passages, and documents are measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from chain import (
    FAST,
    contents,
    fake_answers,
    made_again,
    report_of,
    write_corpus,
    write_labels,
)
from files_page import undocumented

import acclimate
from acclimate.base.testing import DOCS, QUERIES
from acclimate.cli.main import main
from acclimate.records import Doc
from acclimate.stages.runs import load_run

pytestmark = pytest.mark.usefixtures("fake_llm")


LONG = [  # four facts each
    Doc(f"long#{n}", "\n\n".join(f"{doc.title}. {doc.text}" for doc in DOCS[n::10]), f"Facts {n}") for n in range(10)
]
PASSAGES = ("index.passage_words=22", "index.passage_overlap=3", *FAST)


@pytest.fixture(scope="session")
def of_passages(run_adapt, tmp_path_factory) -> Path:
    """A run of long documents, with real queries to measure on and others to choose on."""
    folder = tmp_path_factory.mktemp("passages") / "long"
    (folder / "qrels").mkdir(parents=True)
    write_corpus(folder / "corpus.jsonl", LONG)
    write_labels(folder)
    (folder / "qrels.tsv").unlink()
    for split, start in (("test", 0), ("dev", 1)):
        rows = [f"{query.query_id}\tlong#{n % 10}\t1\n" for n, query in enumerate(QUERIES) if n % 2 == start]
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    with fake_answers():
        assert run_adapt(folder, folder.parent / "run", changes=PASSAGES) == 0
    return folder.parent / "run"


def test_queries_are_written_for_passages_and_measured_by_documents(of_passages):
    report = report_of(of_passages)
    assert report["corpus"]["documents"] == len(LONG)
    assert report["verdict_basis"] == "qrels" and "20 judged ones" in report["chosen_on"]
    assert report["stages"][0]["in"] == len(LONG) < report["stages"][0]["out"]
    assert load_run(of_passages).input.unit == "passages"
    assert undocumented(of_passages) == set()
    passages = set(json.loads((of_passages / "sample" / "splits.json").read_text()))
    assert len(passages) > len(LONG)
    assert {name.rpartition("#")[0] for name in passages} <= {doc.doc_id for doc in LONG}
    for path in (of_passages / "evaluate" / "runs").iterdir():
        found = [(line.split()[0], line.split()[2]) for line in path.read_text().splitlines()]
        assert found
        assert {doc_id for _, doc_id in found} <= {doc.doc_id for doc in LONG}
        assert len(found) == len(set(found))
    dense = [line.split()[0] for line in (of_passages / "evaluate" / "runs" / "dense.trec").read_text().splitlines()]
    assert {dense.count(query_id) for query_id in dense} == {len(LONG)}  # all of them, however many passages lie before
    assert {one["name"]: one["measures"]["nDCG@10"] for one in report["systems"]}["bm25"] > 0.7


def test_no_passage_is_learned_from_beside_another_of_its_document(of_passages):
    for line in (of_passages / "mine" / "examples.jsonl").read_text().splitlines():
        positive, *negatives = (doc_id.rpartition("#")[0] for doc_id in json.loads(line)["doc_ids"])
        assert positive not in negatives


def test_passages_of_one_document_are_on_one_side(of_passages):
    sides: dict[str, set[str]] = {}
    for passage, side in json.loads((of_passages / "sample" / "splits.json").read_text()).items():
        sides.setdefault(passage.rpartition("#")[0], set()).add(side)
    assert {len(found) for found in sides.values()} == {1}


def test_a_search_shows_the_passage_found_and_its_document(of_passages, capsys):
    assert main(["search", str(of_passages), "why does lava erupt", "--k", "10", "--system", "bm25"]) == 0
    first, text, *_ = capsys.readouterr().out.splitlines()
    assert re.search(r"long#0#\d  Facts 0", first)
    assert "Molten rock" in text
    assert main(["search", str(of_passages), "why does lava erupt", "--k", "1", "--system", "bm25", "--json"]) == 0
    hit = json.loads(capsys.readouterr().out)
    assert (hit["doc_id"], hit["passage_id"][:7], hit["title"]) == ("long#0", "long#0#", "Facts 0")
    assert list(hit["members"]) == ["bm25"]
    assert main(["search", str(of_passages), "lava", "--k", "30"]) == 0
    found = re.findall(r"^ +\S+  (long#\d+)#", capsys.readouterr().out, re.MULTILINE)
    assert len(found) == len(set(found)) > 0


def test_examples_of_passages_get_their_texts_from_the_run(of_passages, tmp_path, monkeypatch):
    monkeypatch.chdir(of_passages)
    examples, queries, out = "mine/examples.jsonl", "filter/queries.jsonl", tmp_path / "triples.tsv"
    for corpus in ("", of_passages.parent / "long"):  # an unset variable; documents, of which the examples have none
        with pytest.raises(acclimate.AcclimateError, match=r"corpus is empty|is none of the 10 documents"):
            acclimate.convert(examples, out, target_format="triples", corpus=corpus, queries=queries)
    acclimate.convert(examples, out, target_format="triples", corpus=of_passages, queries=queries)
    texts = {cell for line in out.read_text().splitlines() for cell in line.split("\t")[1:]}
    assert all(text.startswith("Facts ") and len(text.split()) <= 24 for text in texts)


def test_an_export_counts_documents_and_passages_apart(of_passages, tmp_path):
    exported = acclimate.open(of_passages).export("opensearch", tmp_path / "exported", system="bm25")
    n_passages = len(json.loads((of_passages / "sample" / "splits.json").read_text()))
    assert exported.counts["documents"] == len(LONG) < n_passages <= exported.counts["passages"]


@pytest.mark.slow
def test_passages_without_labels_are_measured_by_documents_too(run_adapt, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr("acclimate.report.assemble.FEW_QUERIES", 4)
    assert run_adapt(write_corpus(tmp_path / "long.jsonl", LONG), out, changes=PASSAGES) == 0
    report = report_of(out)
    assert report["verdict_basis"] == "synthetic"
    assert {one["name"]: one["measures"]["nDCG@10"] for one in report["systems"]}["bm25"] > 0.7
    assert any("were written for 3 documents, and those of one document" in line for line in report["warnings"])


def test_where_no_document_is_long_asking_for_passages_changes_nothing(corpus, copied, run_adapt):
    before = contents(copied)
    assert run_adapt(corpus, copied, changes=("index.passage_words=1000",)) == 0
    assert made_again(copied) == ["index"]
    assert [name for name in before if name.endswith(".trec") and contents(copied)[name] != before[name]] == []


@pytest.mark.parametrize(("words", "is_said"), [(20, False), (300, True)])
def test_that_most_of_the_text_is_not_read_is_said_before_it_is_encoded(base, tmp_path, words, is_said):
    from acclimate.stages.index import index

    corpus = {f"d{number}": Doc(f"d{number}", f"lava {number} " * (words // 2)) for number in range(3)}
    early: list[str] = []

    def warn(warning: str) -> None:
        assert not (tmp_path / "vectors").exists()  # that takes hours
        early.append(warning)

    warnings = index(corpus, base, tmp_path, warn, max_tokens=64, language="none")
    assert [("--set index.passage_words=150" in warning) for warning in warnings] == [True] * is_said
    assert early == warnings
