"""What a run of the whole chain leaves: its report, its files and models, and systems that can be searched.

One run is shared and copied; its models are tiny and its LLM is a fake. The models that travel as packages run in
test_package.py.
"""

from __future__ import annotations

import json
import re

import pytest
from chain import (
    FAST,
    STAGES,
    made_again,
    report_of,
)
from files_page import undocumented
from tiny import write_llama

from acclimate.base.testing import DOCS
from acclimate.cli.main import main

pytestmark = pytest.mark.usefixtures("fake_llm")


MEASURES = {"nDCG@10", "R@100", "RR@10", "Success@5"}


def test_the_report_has_the_fields_that_programs_rely_on(finished):
    report = report_of(finished)
    assert report["verdict"] in ("WIN", "NO DIFFERENCE", "REGRESSION")
    assert report["verdict_basis"] == "synthetic"
    names = [system["name"] for system in report["systems"]]
    assert {"bm25", "dense", "late-interaction", "hybrid", "hybrid:equal", "hybrid:tuned"} <= set(names)
    assert {system["name"] for system in report["systems"] if system["untouched"]} == {"bm25", "dense", "hybrid"}
    assert [step["to"] for step in report["steps"]] == [
        "hybrid:equal", "hybrid:tuned", "hybrid:adapted", "hybrid:adapted:feedback", "hybrid+reranker",
    ]  # fmt: skip
    assert {"dense:adapted", "late-interaction:adapted", "hybrid:adapted"} <= set(names)
    assert report["recommended"] in names
    assert report["seed"] == 0
    assert report["recipe"] == "quick"
    assert report["versions"]["acclimate"]
    for system in report["systems"]:
        assert system["adapted"] is (":adapted" in system["name"] or "+reranker" in system["name"])
        assert system["kind"] in ("bm25", "dense", "late-interaction", "sparse", "static", "hybrid", "reranked")
        assert set(system["measures"]) == MEASURES
        assert all(0 <= value <= 1 for value in system["measures"].values())
        assert 0 < system["latency_ms"]["p50"] <= system["latency_ms"]["p95"]
        assert isinstance(system["index_bytes"], int)
        assert system["index_bytes"] > 0
    assert report["comparisons"]
    for one in report["comparisons"]:
        assert {one["system"], one["baseline"]} <= set(names)
        assert one["measure"] in MEASURES
        low, high = one["ci95"]
        assert low <= one["delta"] <= high
        assert 0 <= one["p"] <= 1
        assert one["wins"] + one["losses"] + one["ties"] == report["queries"]["count"]


def test_the_report_accounts_for_every_stage(finished):
    stages = report_of(finished)["stages"]
    assert [stage["name"] for stage in stages] == STAGES
    for stage in stages:
        assert all(isinstance(stage[key], int) for key in ("in", "out"))
        assert all(isinstance(count, int) for count in stage["dropped"].values())
        assert stage["seconds"] >= 0
        assert stage["resumed"] is False
    generated = stages[STAGES.index("generate")]
    assert generated["tokens"]["prompt"] > generated["tokens"]["completion"] > 0
    assert generated["cost_usd"] == 0


def test_hostile_text_is_text_in_the_page(finished):
    page = (finished / "report.html").read_text()
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)


def test_whoever_may_read_the_folder_may_read_the_run(finished):
    may = finished.stat().st_mode & 0o666
    assert [path for path in finished.rglob("*") if may & ~path.stat().st_mode] == []


def test_runs_are_read_by_ir_measures(finished):
    import ir_measures

    queries = [json.loads(line) for line in (finished / "steer" / "measuring.jsonl").read_text().splitlines()]
    qrels = [ir_measures.Qrel(q["query_id"], doc_id, grade) for q in queries for doc_id, grade in q["grades"].items()]
    systems = report_of(finished)["systems"]
    assert len(systems) == len(list((finished / "evaluate" / "runs").iterdir()))
    for system in systems:
        path = finished / "evaluate" / "runs" / f"{system['name'].replace(':', '-')}.trec"
        run = list(ir_measures.read_trec_run(str(path)))
        assert run
        found = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)
        assert found[ir_measures.nDCG @ 10] == pytest.approx(system["measures"]["nDCG@10"], abs=1e-4)


def test_models_load_with_plain_sentence_transformers(finished):
    from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer

    texts = [DOCS[0].text, DOCS[1].text]
    dense = SentenceTransformer(str(finished / "distill" / "dense"), device="cpu")
    assert dense.encode_query(["lava"]).shape == (1, 32)
    assert dense.encode_document(texts).shape == (2, 32)
    late = MultiVectorEncoder(str(finished / "distill" / "late-interaction"), device="cpu")
    assert len(late.encode_query(["lava"])[0][0]) == 32
    assert (
        len(CrossEncoder(str(finished / "train" / "reranker"), device="cpu").predict([("lava", t) for t in texts])) == 2
    )


def test_intermediate_files_say_what_the_fields_of_the_trade_say(finished):
    examples = [json.loads(line) for line in (finished / "mine" / "examples.jsonl").read_text().splitlines()]
    known = {doc.doc_id for doc in DOCS}
    assert examples
    for example in examples:
        assert set(example["doc_ids"]) <= known
        assert example["doc_ids"][0] not in example["doc_ids"][1:]


def test_teachers_of_all_kinds_teach_one_after_the_other(copied, corpus, run_adapt, tmp_path, capsys):
    llm = write_llama(tmp_path / "llm")
    teachers = f"dense,reranker,likelihood:{llm},yes-no:{llm}"
    changes = (f"label.teachers={teachers}", "label.mode=sequential", "label.reranker_ways=6", "distill.epochs=1")
    assert run_adapt(corpus, copied, changes=changes) == 0
    assert made_again(copied) == ["label", "distill", "evaluate"]
    assert "of their source document: kept" in capsys.readouterr().err
    folder = copied / "label"
    manifest = json.loads((folder / "manifest.json").read_text())
    turns = teachers.split(",")
    assert manifest["notes"]["turns"] == turns
    assert undocumented(copied) == set()
    assert [row["name"] for row in manifest["notes"]["teachers"]] == [
        "bm25", "dense", "late-interaction", *turns[1:], "teacher",
    ]  # fmt: skip
    rows = {row["query_id"]: row for row in map(json.loads, (folder / "scores.jsonl").read_text().splitlines())}
    for number, teacher in enumerate(turns, 1):
        lessons = [json.loads(line) for line in (folder / f"train-{number}.jsonl").read_text().splitlines()]
        assert lessons
        for data in lessons:
            row = rows[data["query_id"]]
            assert len(row["raw"][teacher]) == len(row["normalized"][teacher]) == len(row["doc_ids"])
            pairs = zip(row["doc_ids"], row["raw"][teacher], strict=True)
            assert set(data["doc_ids"]) == {doc_id for doc_id, score in pairs if score is not None}
            assert len(data["doc_ids"]) == (6 if teacher != "dense" else len(row["doc_ids"]))
    assert run_adapt(corpus, copied, changes=changes) == 0
    assert made_again(copied) == []


@pytest.mark.parametrize("name", ["likelihood:no/such/folder/at/all", "cross-encoder", "late-interactoin"])
def test_a_teacher_that_is_none_is_said_before_anything_is_made(name, corpus, run_adapt, tmp_path, capsys):
    assert run_adapt(corpus, tmp_path / "run", changes=(f"label.teachers=bm25,{name}",)) == 2
    assert name.rpartition(":")[2] in capsys.readouterr().err
    assert not (tmp_path / "run" / "index").exists()


def test_no_document_of_a_measured_query_is_trained_on(finished):
    splits = json.loads((finished / "sample" / "splits.json").read_text())
    sources = {
        row["query_id"]: row["doc_id"]
        for row in map(json.loads, (finished / "filter" / "queries.jsonl").read_text().splitlines())
    }
    lessons = [json.loads(line) for line in (finished / "label" / "train.jsonl").read_text().splitlines()]
    assert {splits[sources[data["query_id"]]] for data in lessons} == {"train"}
    asked = {line.split()[0] for line in (finished / "evaluate" / "runs" / "bm25.trec").read_text().splitlines()}
    assert {splits[sources[query_id]] for query_id in asked} == {"test"}


def test_a_run_writes_in_its_own_folder_only(corpus, run_adapt, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(elsewhere))
    before = sorted(path.name for path in corpus.parent.iterdir())
    assert run_adapt(corpus, tmp_path / "run", changes=("distill.epochs=1", "distill.student=dense")) == 0
    assert list(elsewhere.iterdir()) == []
    assert undocumented(tmp_path / "run") == set()
    assert sorted(path.name for path in corpus.parent.iterdir()) == before


def test_students_without_a_transformer_at_query_time_are_measured_and_searched(corpus, run_adapt, copied, capsys):
    """Beside where they started, and the dense one with a smaller index."""
    changes = ("distill.student=sparse,static,dense-query", "distill.dim=8", "distill.matryoshka=16")
    assert run_adapt(corpus, copied, changes=changes) == 0
    assert made_again(copied) == ["distill", "evaluate"]
    report = report_of(copied)
    systems = {one["name"]: one for one in report["systems"]}
    for name in ("sparse", "static"):
        assert (systems[name]["kind"], systems[name]["adapted"]) == (name, False)
        assert (systems[f"{name}:adapted"]["kind"], systems[f"{name}:adapted"]["adapted"]) == (name, True)
    assert systems["dense:adapted"]["index_bytes"] * 4 == systems["dense"]["index_bytes"]
    assert systems["static"]["index_bytes"] == systems["dense"]["index_bytes"]
    assert 0 < report["students"]["sparse"]["active_dims"]["sparse"] <= 256
    assert undocumented(copied) == set()
    capsys.readouterr()
    for name in ("sparse", "sparse:adapted", "static:adapted", "dense:adapted", "hybrid:adapted"):
        assert main(["search", str(copied), "why does lava erupt", "--k", "1", "--system", name]) == 0
    assert capsys.readouterr().out


def test_every_system_of_a_run_can_be_searched(finished, capsys):
    report = report_of(finished)
    for system in [None, *(one["name"] for one in report["systems"])]:
        assert main(["search", str(finished), "lava", "--k", "3", *(["--system", system] if system else [])]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("    " * 2 + "  ")]
        one = (system or report["recommended"]) == "bm25"
        assert len(lines) == (1 if one else 3), system  # one document alone has the word


def test_a_student_without_a_teacher_learns_from_what_was_mined(copied, corpus, run_adapt):
    assert run_adapt(corpus, copied, changes=("distill.loss=contrastive", *FAST)) == 0
    assert made_again(copied)[-2:] == ["distill", "evaluate"]
    inputs = json.loads((copied / "distill" / "manifest.json").read_text())["inputs"]
    assert "mine" in inputs
    assert "label" not in inputs
