"""The InPars toolkit's commands, each on the files of the one before it, and what comes of the last."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import pytest
from chain import write_corpus
from tiny import write_cross_encoder

import acclimate.llm
from acclimate.api.inpars import training
from acclimate.base.testing import DOCS, QUERIES
from acclimate.cli.main import main

pytestmark = pytest.mark.usefixtures("fake_llm")


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nature")
    write_corpus(folder / "corpus.jsonl")
    rows = [json.dumps({"_id": query.query_id, "text": query.text}) for query in QUERIES]
    (folder / "queries.jsonl").write_text("\n".join(rows))
    (folder / "qrels").mkdir()
    judged = [f"{query.query_id}\t{doc.doc_id}\t1\n" for query, doc in zip(QUERIES, DOCS, strict=True)]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged[:12]))
    return folder


def inpars(command, **options):
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return main(["inpars", command, *words])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def written(collection, tiny_encoder, tmp_path):
    output = tmp_path / "queries.jsonl"
    options = {"dataset": collection, "output": output, "base_model": tiny_encoder}
    assert inpars("generate", max_generations=20, **options) == 0
    return output


def test_generate_writes_what_the_toolkit_writes(written):
    rows = lines(written)
    assert 0 < len(rows) <= 20
    texts = {doc.doc_id: doc.default_text() for doc in DOCS}
    for row in rows:
        assert list(row) == ["doc_id", "text", "query", "log_probs", "prompt_text", "fewshot_examples"]
        assert row["text"] == texts[row["doc_id"]]
        assert len(row["log_probs"]) == len(row["query"].split())
    assert len({row["doc_id"] for row in rows}) == len(rows)
    assert not list(written.parent.glob("*.partial"))


def test_a_killed_generation_asks_nobody_twice(collection, tiny_encoder, tmp_path, monkeypatch):
    options = {"dataset": collection, "base_model": tiny_encoder, "output": tmp_path / "q.jsonl"}
    monkeypatch.setattr("acclimate.api.inpars.queries.write_jsonl", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert inpars("generate", **options) == 130
    monkeypatch.undo()
    llm = acclimate.llm.load(str(tiny_encoder))
    type(llm).asked = 0
    assert inpars("generate", **options) == 0
    assert type(llm).asked == 0


def test_filter_keeps_the_surest_first_with_their_scores_and_every_key(written, tmp_path):
    rows = lines(written)
    written.write_text("".join(json.dumps({**row, "mine": number}) + "\n" for number, row in enumerate(rows)))
    assert inpars("filter", input=written, output=tmp_path / "f.jsonl", keep_top_k=5) == 0
    kept = lines(tmp_path / "f.jsonl")
    means = sorted((sum(row["log_probs"]) / len(row["log_probs"]) for row in rows), reverse=True)
    assert [row["score"] for row in kept] == pytest.approx(means[:5], abs=1e-6)
    assert all(rows[row["mine"]]["query"] == row["query"] for row in kept)


def test_a_filter_that_keeps_nothing_says_why_and_writes_nothing(written, tmp_path, capsys):
    rows, output = lines(written), tmp_path / "f.jsonl"
    assert inpars("filter", input=written, output=output, min_tokens=50) == 2
    assert f"none of {len(rows)} queries is kept: length {len(rows)}; see --min_tokens" in capsys.readouterr().err
    written.write_text("".join(json.dumps({**row, "log_probs": []}) + "\n" for row in rows))
    assert inpars("filter", input=written, output=output) == 2
    assert "no line has log_probs; expected them, or --filter_strategy reranker" in capsys.readouterr().err
    assert not output.exists()


def test_filter_reads_the_files_of_inpars_v1(written, tmp_path):
    rows = [{"doc_id": r["doc_id"], "doc_text": r["text"], "question": r["query"], "log_probs": r["log_probs"]}
            for r in lines(written)]  # fmt: skip
    (tmp_path / "v1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert inpars("filter", input=tmp_path / "v1.jsonl", output=tmp_path / "f.jsonl") == 0
    assert len(lines(tmp_path / "f.jsonl")) == len(rows)


@pytest.mark.slow
def test_a_reranker_filters(written, tiny_encoder, tmp_path):
    model = write_cross_encoder(tmp_path / "published", tiny_encoder)
    options = {"filter_strategy": "reranker", "model_name_or_path": model, "keep_top_k": 4}
    assert inpars("filter", input=written, output=tmp_path / "f.jsonl", **options) == 0
    scores = [row["score"] for row in lines(tmp_path / "f.jsonl")]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)


def test_no_triple_has_its_source_as_a_negative(collection, written, tmp_path):
    output = tmp_path / "triples.tsv"
    assert inpars("generate_triples", dataset=collection, input=written, output=output, n_samples=3) == 0
    with output.open(newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    source = {row["query"]: row["text"] for row in lines(written)}
    assert len(rows) == 3 * len(source)
    assert all(positive == source[query] != negative for query, positive, negative in rows)


def test_a_negative_is_drawn_and_never_an_answer_of_the_same_query(tiny_encoder, tmp_path, monkeypatch):
    """The toolkit's triples come in the order of BM25's ranks: the first of a query are its hardest."""
    n_queries, n_negatives = 40, 25
    rows = [
        (f"query {number}", f"answer {number}", f"rank {rank} for {number}")
        for number in range(n_queries)
        for rank in range(n_negatives)
    ]
    rows += [("query 0", "another answer", "answer 0"), ("query 0", "another answer", "no answer")]
    triples = tmp_path / "triples.tsv"
    triples.write_text("".join(f"{chr(9).join(row)}\n" for row in rows))
    given = {}

    def keep(examples, dev, texts, docs, folder, **settings):
        (folder / "model").mkdir()
        given.update(examples=[*examples, *dev], texts=texts, docs=docs, n_ways=settings["n_ways"])
        return SimpleNamespace(path=folder / "model")

    monkeypatch.setattr(training, "train_rerankers", keep)
    assert inpars("train", triples=triples, output_dir=tmp_path / "model", base_model=tiny_encoder) == 0
    docs, n_ways = given["docs"], given["n_ways"]
    read = {
        (given["texts"][example.query_id], *(docs[doc_id].text for doc_id in example.doc_ids[:n_ways]))
        for example in given["examples"]
    }
    assert {row[:2] for row in read} == {row[:2] for row in rows}
    assert read <= set(rows) - {("query 0", "another answer", "answer 0")}
    ranks = [int(negative.split()[1]) for _, _, negative in read if negative.startswith("rank")]
    assert len(ranks) == n_queries
    assert len(set(ranks)) > n_negatives / 2  # as 40 draws of 25 have, but for one case in a million


@pytest.mark.slow
def test_from_documents_to_measures(collection, written, tiny_encoder, tmp_path, capsys):
    triples, model = tmp_path / "triples.tsv", tmp_path / "model"
    assert inpars("generate_triples", dataset=collection, input=written, output=triples, n_samples=2) == 0
    assert (
        inpars("train", triples=triples, output_dir=model, base_model=tiny_encoder, max_steps=2, max_doc_length=48) == 0
    )
    assert (model / "model.safetensors").exists()
    assert inpars("train", triples=triples, output_dir=model) == 2
    assert "is there already; expected a new folder" in capsys.readouterr().err
    run = tmp_path / "reranked.trec"
    assert inpars("rerank", dataset=collection, model=model, output_run=run, top_k=5) == 0
    assert len(run.read_text().splitlines()) == sum(1 for _ in run.open())
    again = tmp_path / "again.trec"
    assert inpars("rerank", dataset=collection, model=model, initial_run=run, output_run=again) == 0
    order = [[line.split()[:3:2] for line in path.read_text().splitlines()] for path in (run, again)]
    assert order[0] == order[1]
    capsys.readouterr()
    assert inpars("evaluate", run=run, dataset=collection, json=tmp_path / "m.json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values == json.loads((tmp_path / "m.json").read_text())
    assert list(values)[:5] == ["num_q", "num_ret", "map", "recip_rank", "P_10"]
    assert values["num_q"] == 12
    assert inpars("evaluate", run="bm25", dataset=collection) == 0
    assert json.loads(capsys.readouterr().out)["ndcg_cut_10"] > 0.9
    few = tmp_path / "few.trec"
    few.write_text("".join(run.open().readlines()[:1]))
    assert inpars("evaluate", run=few, dataset=collection) == 0
    assert json.loads(capsys.readouterr().out)["num_q"] == 12  # that the means are over
    left = {path.name for path in tmp_path.iterdir() if path.name.endswith(".partial")}
    assert left == set()


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("generate", {"dataset": "x", "output": "y", "fp16": "z"}, "Unknown option"),
        ("generate", {"dataset": "gone", "output": "y"}, "gone"),
        ("generate", {"dataset": "gone", "output": "."}, "is a directory, a pipe or a device; expected a file"),
        ("evaluate", {"run": "x"}, "neither --qrels nor --dataset says what is relevant"),
        ("filter", {"input": "gone.jsonl", "output": "y"}, "gone.jsonl: no such file"),
        ("filter", {"input": "x", "output": "y", "filter_strategy": "best"}, "best"),
        ("filter", {"input": "x", "output": "y", "keep_top_k": 0}, "--keep_top_k"),
        ("filter", {"input": "x", "output": "y", "max_tokens": 0}, "--max_tokens"),
        ("generate", {"dataset": "x", "output": "y", "max_generations": 0}, "--max_generations is 0; expected"),
        ("generate_triples", {"dataset": "x", "input": "y", "output": "z", "max_hits": 0}, "--max_hits is 0; expected"),
        ("train", {"triples": "x", "output_dir": "y", "max_steps": 0}, "--max_steps is 0; expected"),
        ("rerank", {"dataset": "x", "output_run": "y", "top_k": 0}, "--top_k is 0; expected"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path, monkeypatch, capsys, command, options, message):
    monkeypatch.chdir(tmp_path)
    assert inpars(command, **options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
