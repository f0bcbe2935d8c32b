"""The methods that come together here, each through the whole chain: Promptagator, UDAPDR, InPars' templates, every
filter. Models are tiny and the LLM is a fake."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest
from chain import FAST, CountingLLM, report_of, write_corpus
from files_page import undocumented

from acclimate.base.digests import folder_fingerprint
from acclimate.base.testing import DOCS, QUERIES
from acclimate.cli.main import main
from acclimate.corpus.formats import read_synthetic
from acclimate.learn.students.distillation import unimproved_warnings
from acclimate.llm import prompts
from acclimate.stages.runs import resume_run
from acclimate.stages.train import Trained

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fake_llm")]


@pytest.fixture
def prompts_asked(monkeypatch):
    """Every prompt that the LLM is asked."""
    asked = []
    complete = CountingLLM.complete
    monkeypatch.setattr(CountingLLM, "complete", lambda self, texts: (asked.extend(texts), complete(self, texts))[1])
    return asked


@pytest.fixture
def beir(tmp_path):
    """Documents with eight training queries and the rest to measure on, one of them a training query's text again."""
    folder = tmp_path / "nature"
    (folder / "qrels").mkdir(parents=True)
    write_corpus(folder / "corpus.jsonl")
    rows = [{"_id": query.query_id, "text": query.text} for query in QUERIES]
    rows += [{"_id": f"again{n}", "text": f" {QUERIES[n].text.upper()}"} for n in range(8)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    header = "query-id\tcorpus-id\tscore\n"
    lines = [f"{query.query_id}\t{doc.doc_id}\t1\n" for query, doc in zip(QUERIES, DOCS, strict=True)]
    again = [f"again{n}\t{DOCS[n].doc_id}\t1\n" for n in range(8)]
    (folder / "qrels" / "train.tsv").write_text(header + "".join(lines[:8]))
    (folder / "qrels" / "test.tsv").write_text(header + "".join([*lines[8:], *again]))
    return folder


def test_examples_of_the_task_are_shown_and_neither_trained_on_nor_measured(beir, run_adapt, tmp_path, prompts_asked):
    out = tmp_path / "run"
    changes = (
        "generate.prompt=promptagator",
        "sample.examples=train",
        "sample.n_examples=2",
        *FAST,
        "evaluate.max_queries=0",
    )
    assert run_adapt(beir, out, changes=changes) == 0
    shown = [json.loads(line) for line in (out / "sample" / "examples.jsonl").read_text().splitlines()]
    assert len(shown) == 2
    assert {row["query"] for row in shown} <= {query.text for query in QUERIES[:8]}
    assert prompts_asked
    assert all(row["query"] in prompt for prompt in prompts_asked for row in shown)
    drawn = json.loads((out / "sample" / "splits.json").read_text())
    assert not {row["doc_id"] for row in shown} & drawn.keys()
    stages = {stage["name"]: stage for stage in report_of(out)["stages"]}
    assert stages["sample"]["dropped"]["example of a prompt"] == 2
    assert stages["evaluate"]["dropped"] == {"example of a prompt": 2}
    measured = (out / "evaluate" / "runs" / "bm25.trec").read_text()
    again = {f"again{n}" for n in range(8) if QUERIES[n].text in {row["query"] for row in shown}}
    assert len(again) == 2
    assert not any(line.split()[0] in again for line in measured.splitlines())
    assert undocumented(out) == set()


def test_the_settings_of_inpars_reach_the_llm(beir, run_adapt, tmp_path, prompts_asked):
    out, path = tmp_path / "run", tmp_path / "templates.yaml"
    path.write_text("mine:\n  mode: dynamic\n  template: |\n    Document: {document}\n    Asked: {query}\n")
    changes = (
        "sample.method=first",
        "sample.windows=0",
        "sample.min_chars=0",
        "sample.n_docs=20",
        "sample.n_examples=3",
    )
    changes += ("sample.examples=train", f"generate.prompt={path}#mine", "generate.shuffle_examples=true")
    changes += ("generate.cut=tokens", "generate.max_doc_tokens=5", "generate.cleaning=inpars")
    assert run_adapt(beir, out, changes=(*changes, "filter.round_trip_k=100", *FAST)) == 0
    shown = [json.loads(line) for line in (out / "sample" / "examples.jsonl").read_text().splitlines()]
    left = [doc for doc in DOCS if doc.doc_id not in {row["doc_id"] for row in shown}]
    drawn = list(json.loads((out / "sample" / "splits.json").read_text()))
    assert drawn == [doc.doc_id for doc in left if doc.doc_id in set(drawn)]
    pairs = [f"Document: {CountingLLM().cut(row['document'], 5)}\nAsked: {row['query']}\n" for row in shown]
    orders = {"".join(order) for order in itertools.permutations(pairs)}
    ends = {f"Document: {CountingLLM().cut(doc.default_text(), 5)}\nAsked:" for doc in left if doc.doc_id in drawn}
    parts = [prompt.rpartition("Document: ") for prompt in prompts_asked]
    assert {middle + end for _, middle, end in parts} == ends
    assert {begin for begin, _, _ in parts} <= orders
    assert len({begin for begin, _, _ in parts}) > 1
    rows = [json.loads(line) for line in (out / "generate" / "queries.jsonl").read_text().splitlines()]
    assert all(row["logprob"] == sum(row["log_probs"]) / len(row["log_probs"]) for row in rows)
    assert undocumented(out) == set()


def test_a_prompt_that_needs_examples_says_how_to_give_them(beir, run_adapt, tmp_path, capsys):
    assert run_adapt(beir, tmp_path / "run", changes=("generate.prompt=promptagator",)) == 2
    assert "--set sample.examples=FILE or sample.examples=train" in capsys.readouterr().err
    missing = ("generate.prompt=promptagator", f"sample.examples={tmp_path / 'none.jsonl'}")
    assert run_adapt(beir, tmp_path / "run", changes=missing) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_two_stages_make_prompts_of_the_corpus_and_queries_with_them(beir, run_adapt, tmp_path, prompts_asked):
    out = tmp_path / "run"
    changes = ("generate.prompt=adapted", "seed.n_docs=14", "seed.n_prompts=2", "filter.round_trip_k=100", *FAST)
    assert run_adapt(beir, out, changes=changes) == 0
    made = [prompts.template(path) for path in sorted((out / "seed").glob("adapted-*.toml"))]
    assert [template.name for template in made] == ["adapted-1", "adapted-2"]
    documents = [row["document"] for template in made for row in template.examples]
    assert len(documents) == len(set(documents)) == 6
    assert all(row["query"] != row["bad_query"] for template in made for row in template.examples)
    splits = json.loads((out / "sample" / "splits.json").read_text())
    seeds = [json.loads(line) for line in (out / "seed" / "seeds.jsonl").read_text().splitlines()]
    assert len(seeds) == 14
    assert all(splits[row["doc_id"]] == "train" for row in seeds)
    assert sum("in" in row for row in seeds) == 6
    assert all("in" in row or row["reason"] for row in seeds)  # what was paid for is used, or it says why not
    queries = list(read_synthetic(out / "generate" / "queries.jsonl"))
    assert {query.prompt for query in queries} == {"adapted-1", "adapted-2"}
    assert undocumented(out) == set()
    assert any(documents[0] in prompt and prompt.endswith("Good Question:") for prompt in prompts_asked)
    stages = {stage["name"]: stage for stage in report_of(out)["stages"]}
    assert stages["seed"]["in"] == 14
    assert stages["seed"]["tokens"]["prompt"] > 0
    asked = len(prompts_asked)
    assert run_adapt(beir, out, changes=changes) == 0
    assert len(prompts_asked) == asked
    assert not [stage["name"] for stage in report_of(out)["stages"] if not stage["resumed"]]


def test_a_stage_s_limit_stops_that_stage(beir, run_adapt, tmp_path, capsys):
    out = tmp_path / "run"
    changes = ("generate.prompt=adapted", "seed.n_docs=14", "seed.n_prompts=2", *FAST)
    assert run_adapt(beir, out, "--max-tokens", "generate=1", changes=changes) == 3
    assert (out / "seed" / "manifest.json").exists()
    assert "--max-tokens generate=1" in capsys.readouterr().err
    assert not (out / "generate" / "manifest.json").exists()


def test_every_filter_in_one_run_and_another_threshold_asks_nobody(beir, run_adapt, tmp_path, monkeypatch):
    out = tmp_path / "run"
    filters = "duplicates,logprob,percentile,round-trip,teacher,judge"
    # The trained retriever compares with whole vectors, whatever the index of the student keeps of them.
    changes = (f"filter.filters={filters}", "filter.retriever=trained", "filter.min_grade=1", "distill.dim=8", *FAST)
    assert run_adapt(beir, out, changes=(*changes, "filter.round_trip_k=30")) == 0
    stage = {stage["name"]: stage for stage in report_of(out)["stages"]}["filter"]
    assert set(stage["dropped"]) == set(filters.split(","))
    manifest = json.loads((out / "filter" / "manifest.json").read_text())
    assert [name for name, _ in manifest["notes"]["funnel"]] == filters.split(",")
    assert manifest["notes"]["funnel"][-1][1] == stage["out"]
    assert manifest["notes"]["asked"]["fake"]["calls"] > 0
    assert not (out / "filter" / "trained").exists()
    rows = [json.loads(line) for line in (out / "filter" / "scores.jsonl").read_text().splitlines()]
    assert {"logprob", "rank", "teacher_rank", "grade", "reason"} <= set(rows[0])
    assert any(row["grade"] for row in rows)
    assert undocumented(out) == set()

    def refuse(*_args, **_kwargs):
        raise AssertionError("asked again")

    monkeypatch.setattr("acclimate.stages.raters.source_ranks", refuse)
    again = (*changes, "filter.round_trip_k=29")
    assert run_adapt(beir, out, changes=again) == 0
    assert not report_of(out)["stages"][[s["name"] for s in report_of(out)["stages"]].index("filter")]["resumed"]


def test_the_funnel_is_printed(beir, run_adapt, tmp_path, capsys):
    out = tmp_path / "run"
    assert run_adapt(beir, out, changes=FAST) == 0
    capsys.readouterr()
    assert main(["filter", str(out), "--filters", "duplicates,round-trip", "--round-trip-k", "1"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[1:]] == ["generate", "duplicates", "round-trip"]
    shutil.rmtree(out)


def test_a_reranker_for_each_prompt_and_all_of_them_rate_together(beir, run_adapt, tmp_path, capsys):
    out = tmp_path / "run"
    changes = ("generate.prompt=claim,keyword", "train.rerankers=prompt", "train.min_queries=2", *FAST)
    assert run_adapt(beir, out, changes=changes) == 0
    names = ["reranker-claim", "reranker-keyword"]
    notes = json.loads((out / "train" / "manifest.json").read_text())["notes"]
    assert [note["name"] for note in notes["rerankers"]] == names
    assert all((out / "train" / name / "model.safetensors").exists() for name in names)
    assert "hybrid+reranker" in {system["name"] for system in report_of(out)["systems"]}
    assert undocumented(out) == set()
    assert main(["search", str(out), "lava", "-k", "2", "--system", "hybrid+reranker"]) == 0
    kept = folder_fingerprint(out / "train" / names[0])
    assert run_adapt(beir, out, changes=(*changes, "train.merge=average")) == 0
    assert folder_fingerprint(out / "train" / names[0]) == kept
    assert (out / "train" / "reranker" / "model.safetensors").exists()
    run = resume_run(out)
    several = Trained(out / "train", {"notes": {"rerankers": notes["rerankers"]}}, resumed=True)
    assert list(several.scorers(run)) == names
    merged = json.loads((out / "train" / "manifest.json").read_text())["notes"]
    assert list(Trained(out / "train", {"notes": merged}, resumed=True).scorers(run)) == ["reranker"]
    assert undocumented(out) == set()


def test_who_learned_nothing_and_what_taught_nobody_are_told(beir, run_adapt, tmp_path):
    out = tmp_path / "run"
    ruinous = ("train.learning_rate=1e-12", "train.max_queries=5", "distill.learning_rate=1", "distill.max_queries=7")
    assert run_adapt(beir, out, changes=(*ruinous, *FAST)) == 0
    report = report_of(out)
    assert any("reranker has collapsed" in warning for warning in report["warnings"])
    assert any("dense:adapted learned nothing from queries" in warning for warning in report["warnings"])
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert (stages["train"]["out"], stages["distill"]["out"]) == (5, 7)
    assert [stage for stage in stages.values() if stage["in"] > stage["out"] + sum(stage["dropped"].values())] == []


def test_a_student_that_learned_is_not_said_to_have_learned_nothing():
    notes = {"dense": {"best_epoch": 1}, "late-interaction": {"best_epoch": 0}, "static": {"best_epoch": 0}}
    notes |= {"sparse": {"best_epoch": 0, "best_epoch_before": [0, 2]}}  # from the second of three teachers
    said = unimproved_warnings(notes)
    assert [sentence.partition(" ")[0] for sentence in said] == ["late-interaction:adapted", "static:adapted"]
    assert ["distill.learning_rate" in said[0], "distill.table_learning_rate" in said[1]] == [True, True]
