"""Who finds what is mined: a retriever of the run's own, as deep as asked, or a TREC run that is checked first."""

from __future__ import annotations

import json

import pytest
from tiny import write_t5

import acclimate
from acclimate.base.errors import DataError, SettingError
from acclimate.base.testing import DOCS
from acclimate.corpus.formats import read_nway, read_synthetic, write_run
from acclimate.records import Doc, ScoredDoc, SyntheticQuery
from acclimate.stages import hits

CORPUS = {f"d{n}": Doc(f"d{n}", f"text {n}") for n in range(9)}


def run_of(path, *lines):
    path.write_text("".join(f"{query} Q0 {doc} {rank} {score} x\n" for query, doc, rank, score in lines))
    return path


def test_hits_come_query_by_query_best_first_whatever_the_ranks_say(tmp_path):
    path = run_of(tmp_path / "run", ("q2", "d1", 1, 0.5), ("q2", "d3", 2, 1), ("q2", "d0", 3, 0.5), ("q1", "d7", 1, -4))
    assert hits.query_ids_in(path, CORPUS) == {"q1", "q2"}
    assert [tuple(hit) for hit in hits.read_hits(path)] == [
        ("q2", "d3", 1), ("q2", "d0", 0.5), ("q2", "d1", 0.5), ("q1", "d7", -4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([("q1", "d1", 1, 2), ("q1", "else/7", 2, 1)], r"run:2: 'else/7' is not a document of this collection"),
        ([("q1", "d1", 1, 2), ("q1", "d1", 2, 1)], r"run:2: doc 'd1' appears twice for query 'q1'"),
        ([("q1", "d1", 1, 2), ("q2", "d1", 1, 1), ("q1", "d2", 2, 1)], r"run:3: query 'q1' comes again"),
    ],
)
def test_a_run_that_cannot_be_mined_is_refused(lines, said, tmp_path):
    with pytest.raises(DataError, match=said):
        hits.query_ids_in(run_of(tmp_path / "run", *lines), CORPUS)


def test_a_run_of_other_queries_is_refused_and_of_some_is_taken(tmp_path):
    queries = [SyntheticQuery(f"q{n}", "text", "d1", -1.0) for n in range(3)]
    path = run_of(tmp_path / "run", ("q1", "d1", 1, 2), ("else", "d1", 1, 2))
    assert hits.queries_with_hits(queries, path, CORPUS) == queries[1:2]
    with pytest.raises(DataError, match=r"has none of the 1 query .* such as 'q0'"):
        hits.queries_with_hits(queries[:1], path, CORPUS)
    empty = tmp_path / "empty"
    empty.write_text("")
    with pytest.raises(DataError, match="has none of the 3 queries"):
        hits.queries_with_hits(queries, empty, CORPUS)


def test_a_name_that_is_no_retriever_and_no_file_is_refused(tmp_path):
    with pytest.raises(SettingError, match=r"Did you mean 'bm25'\? There are: bm25, dense, hybrid, late-interaction"):
        hits.hits_file("bm52")
    with pytest.raises(SettingError, match=r"no mine\.retriever"):
        hits.hits_file(str(tmp_path))  # a folder


@pytest.mark.usefixtures("fake_llm")
@pytest.mark.parametrize("depth", [30, 1000])  # within what all stages share, and deeper
@pytest.mark.parametrize("retriever", ["bm25", "dense", "late-interaction"])
def test_each_retriever_orders_negatives_by_its_own_scores(retriever, depth, copied):
    search = acclimate.open(copied).search
    queries = {query.query_id: query for query in read_synthetic(copied / "filter" / "queries.jsonl")}
    ranked = {
        query_id: [hit.document_id for hit in search(query.text, k=9, system=retriever)]
        for query_id, query in queries.items()
    }
    settings = {"sampling": "top", "n_ways": 5, "max_share": 1.0, "depth": depth}
    acclimate.mine(copied, retriever=retriever, **settings)
    examples = list(read_nway(copied / "mine" / "examples.jsonl"))
    assert examples
    same = 0
    for example in examples:
        query = queries[example.query_id]
        expected = [doc_id for doc_id in ranked[example.query_id] if doc_id != query.doc_id][:3]
        same += list(example.doc_ids[1 : 1 + len(expected)]) == expected
    assert same >= 0.8 * len(examples)  # the others passed over a document that answers the query


@pytest.mark.usefixtures("fake_llm")
def test_a_run_of_somebody_else_s_is_mined_and_what_it_lacks_is_counted(copied, tmp_path):
    queries = list(read_synthetic(copied / "filter" / "queries.jsonl"))
    docs = sorted({query.doc_id for query in queries})
    path = tmp_path / "first.trec"
    lines = [ScoredDoc(query.query_id, doc, 9 - rank) for query in queries[2:] for rank, doc in enumerate(docs[:6])]
    write_run(path, lines)
    acclimate.mine(copied, retriever=path, n_ways=3, sampling="top", max_share=1.0)
    examples = list(read_nway(copied / "mine" / "examples.jsonl"))
    assert [example.query_id for example in examples] == [query.query_id for query in queries[2:]]
    assert all(set(example.doc_ids[1:]) <= set(docs[:6]) for example in examples)
    assert json.loads((copied / "mine" / "manifest.json").read_text())["dropped"]["not in the run"] == 2

    path.write_text(f"{queries[0].query_id} Q0 elsewhere 1 1 x\n")
    with pytest.raises(DataError, match="'elsewhere' is not a document"):
        acclimate.mine(copied, retriever=path)
    path.write_text("")
    with pytest.raises(DataError, match="no hits in this run"):
        acclimate.mine(copied, retriever=path)


def test_hits_and_candidates_are_as_deep_as_asked_where_stages_share_fewer(copied, monkeypatch):
    """InPars mines BM25's first 1,000, where 100 are shared; here the first 20 of 3."""
    for place in ("stages.hits", "stages.label", "run.retrievers"):
        monkeypatch.setattr(f"acclimate.{place}.SHARED_DEPTH", 3)
    acclimate.mine(copied, retriever="dense", n_ways=12, depth=20, max_share=1.0)
    assert {len(example.doc_ids) for example in read_nway(copied / "mine" / "examples.jsonl")} == {12}
    assert json.loads((copied / "mine" / "manifest.json").read_text())["notes"]["filled_at_random"] == 0
    acclimate.label(copied, candidates="dense", teachers="dense", n_ways=15)
    assert {len(example.doc_ids) for example in read_nway(copied / "label" / "train.jsonl")} == {15}


@pytest.mark.usefixtures("fake_llm")
def test_inpars_trains_monot5_for_so_many_steps_of_pairs_whatever_is_set_aside(copied, tmp_path):
    words = {word for doc in DOCS for word in doc.default_text().split()}
    base = write_t5(tmp_path / "t5", sorted(words))
    acclimate.mine(copied, retriever="bm25", n_ways=2, depth=1000, max_share=1.0)
    acclimate.train(
        copied, base=base, template="monot5", loss="token", max_queries=10_000, max_steps=5, batch_size=4,
        gradient_accumulation=4, learning_rate=3e-4, schedule="constant", weight_decay=5e-5, evaluations=1,
    )  # fmt: skip
    (note,) = json.loads((copied / "train" / "manifest.json").read_text())["notes"]["rerankers"]
    examples = list(read_nway(copied / "mine" / "examples.jsonl"))
    assert note["queries"] < len(examples) < 5 * 16  # part of them only choose
    assert (note["steps"], note["effective_batch"], note["rows_seen"]) == (5, 16, 5 * 16 * 2)
    assert note["epochs"] == pytest.approx(5 * 16 / note["queries"], abs=1e-3)
    assert note["last_learning_rate"] == 3e-4
    assert [entry["step"] for entry in note["dev_loss"]] == [5]
