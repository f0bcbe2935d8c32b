"""Runs that begin with what others made: queries, training examples, a reranker."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from chain import FAST, CountingLLM, contents, fake_answers, made_again, report_of, write_labels
from files_page import undocumented

import acclimate
from acclimate.base.testing import DOCS, QUERIES
from acclimate.cli.main import main
from acclimate.corpus.formats import read_nway, read_synthetic

pytestmark = pytest.mark.usefixtures("fake_llm")

SOURCES = {doc.doc_id: doc for doc in DOCS}


def put(path: Path, *rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def manifest_of(run: Path, stage: str):
    return json.loads((run / stage / "manifest.json").read_text())


def lines(path: Path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def published(doc, number=0):
    """A query for a document as the InPars toolkit leaves it."""
    words = doc.text.lower().rstrip(".").split()
    return {
        "doc_id": doc.doc_id,
        "text": doc.default_text(),
        "query": f"what of {' '.join(words[number : number + 5])} and {doc.title.lower()}",
        "log_probs": [-0.5, -0.25 - number],
        "prompt_text": "Example 1",
        "fewshot_examples": ["7"],
    }


@pytest.fixture(scope="module")
def queries(tmp_path_factory) -> Path:
    return put(tmp_path_factory.mktemp("published") / "queries.jsonl", *map(published, DOCS))


@pytest.fixture(scope="module")
def begun(corpus, queries, run_adapt, tmp_path_factory) -> Path:
    """A run from published queries."""
    out = tmp_path_factory.mktemp("begun") / "run"
    asked = CountingLLM.asked
    with fake_answers():
        assert run_adapt(corpus, out, "--from-queries", str(queries), changes=FAST) == 0
    assert CountingLLM.asked == asked
    return out


def test_too_few_that_are_left_are_said_with_what_became_of_the_others(corpus, run_adapt, tmp_path, capsys):
    rows = ({"query_id": "1", **published(doc)} for doc in DOCS)
    file = put(tmp_path / "queries.jsonl", *rows)
    assert run_adapt(corpus, tmp_path / "run", "--from-queries", str(file), changes=FAST) == 2
    assert "for 1 of 40 documents; queries left out whose id came before: 39; expected 8" in capsys.readouterr().err


def test_published_queries_take_the_place_of_those_of_an_llm(begun, queries):
    generated = list(read_synthetic(begun / "generate" / "queries.jsonl"))
    assert [(query.doc_id, query.text, query.log_probs) for query in generated] == [
        (row["doc_id"], row["query"], tuple(row["log_probs"])) for row in lines(queries)
    ]
    splits = json.loads((begun / "sample" / "splits.json").read_text())
    assert splits.keys() == SOURCES.keys()
    assert set(splits.values()) == {"train", "dev", "test"}
    manifest = manifest_of(begun, "generate")
    assert (manifest["in"], manifest["out"], manifest["dropped"]) == (40, 40, {})
    assert manifest["notes"]["given"] == {"documents_with_other_text": 1}  # the first one has a text of the tests
    assert report_of(begun)["ledger"]["tokens"] == 0
    assert report_of(begun)["models"]["llm"] == "given"
    assert undocumented(begun) == set()


def test_a_run_that_was_given_queries_is_read_and_searched_from_its_folder_alone(begun, tmp_path, capsys):
    run = tmp_path / "moved"
    shutil.copytree(begun, run)
    description = json.loads((run / "run.json").read_text())
    assert Path(description["from_queries"]).is_absolute()
    description["from_queries"] = str(tmp_path / "gone.jsonl")
    (run / "run.json").write_text(json.dumps(description))
    assert acclimate.open(run).search("lava", k=2)
    assert main(["report", str(run)]) == 0
    assert main(["inspect", str(run)]) == 0
    assert "40 answers, 40 queries" in capsys.readouterr().out
    assert main(["distill", str(run)]) == 0
    said = capsys.readouterr().err
    assert "gone.jsonl no longer exists; continuing with the run's own copy" in said
    assert "is made again" not in said


@pytest.mark.parametrize("stage", ["generate", "mine"])
def test_an_interrupted_run_goes_on_without_being_told_again(
    stage, begun, corpus, queries, run_adapt, tmp_path, monkeypatch
):
    from acclimate.run.workspace import Workspace

    make, out = Workspace.make, tmp_path / "run"

    def interrupted(self, name, run, **options):
        def work(folder, progress):
            account = run(folder, progress)
            if name == stage:
                raise KeyboardInterrupt
            return account

        return make(self, name, work, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "make", interrupted)
        assert run_adapt(corpus, out, "--from-queries", str(queries), changes=FAST) == 130
    assert main(["evaluate", str(out)]) == 0
    whole, resumed = contents(begun), contents(out)
    assert [name for name in {*whole, *resumed} if whole.get(name) != resumed.get(name)] == []


def test_another_file_makes_what_came_of_the_one_before_again(begun, corpus, run_adapt, tmp_path, capsys):
    shutil.copytree(begun, tmp_path / "run")
    others = put(tmp_path / "others.jsonl", *(published(doc, number=1) for doc in DOCS))
    assert run_adapt(corpus, tmp_path / "run", "--from-queries", str(others), changes=FAST) == 0
    assert made_again(tmp_path / "run")[:2] == ["sample", "generate"]
    assert "generate   is made again: given changed" in capsys.readouterr().err
    kept = tmp_path / "run" / "corpus" / "given-queries.jsonl"
    assert [row["query"] for row in lines(kept)] == [row["query"] for row in lines(others)]


def test_what_can_teach_nothing_is_left_out_and_counted(corpus, run_adapt, tmp_path):
    labels = write_labels(tmp_path)
    rows = [{"doc_id": doc.doc_id, "doc_text": "another text", "question": f" {doc.text} "} for doc in DOCS]
    judged = {"doc_id": "d05", "question": QUERIES[0].text.upper()}
    odd = [{"doc_id": "nowhere", "question": "what of it"}, {"doc_id": "d01", "question": " "}, rows[3], judged]
    file, out = put(tmp_path / "v1.jsonl", *rows, *odd), tmp_path / "run"
    options = ("--from-queries", str(file), "--queries", labels[0], "--qrels", labels[1])
    with fake_answers():
        assert run_adapt(corpus, out, *options, "--dry-run") == 0
        assert not out.exists()
        assert main(["filter", str(out), "--corpus", str(corpus)]) == 0  # a run of another beginning, to be changed
        assert run_adapt(corpus, out, *options, changes=("distill.student=", "evaluate.rerank=")) == 0
    manifest = manifest_of(out, "generate")
    assert manifest["dropped"] == {
        "judged query": 1,
        "lines left out without a query": 1,
        "queries left out whose id came before": 1,
        "unknown document": 1,
    }  # fmt: skip
    assert (manifest["in"], manifest["out"]) == (44, 40)
    assert manifest["notes"]["given"] == {"documents_with_other_text": 40}


def nway(queries: Path, *, scored: bool):
    """Examples of every query: its document and three others."""
    for number, row in enumerate(lines(queries)):
        others = [DOCS[(number + step) % len(DOCS)].doc_id for step in (3, 7, 11)]
        example = {"query_id": f"q{number}", "doc_ids": [row["doc_id"], *others]}
        yield {**example, "scores": [3.0, 1.0 + number / 100, -2.0, 0.5]} if scored else example


@pytest.fixture(scope="module")
def texts(queries, tmp_path_factory) -> Path:
    """The texts of the examples' queries."""
    rows = ({"_id": f"q{number}", "text": row["query"]} for number, row in enumerate(lines(queries)))
    return put(tmp_path_factory.mktemp("texts") / "queries.jsonl", *rows)


def test_training_examples_take_the_place_of_mined_ones(corpus, queries, texts, run_adapt, tmp_path):
    file, out = put(tmp_path / "nway.jsonl", *nway(queries, scored=False)), tmp_path / "run"
    options = ("--from-nway", str(file), "--from-queries", str(texts))
    assert run_adapt(corpus, out, *options, changes=FAST) == 0
    given = {example.query_id: example for example in read_nway(file)}
    mined = list(read_nway(out / "mine" / "examples.jsonl"))
    assert len(mined) == 40  # nothing is filtered that was chosen already
    assert all(given[example.query_id] == example for example in mined)
    assert [stage["name"] for stage in report_of(out)["stages"]][5:] == [
        "mine",
        "train",
        "label",
        "distill",
        "evaluate",
    ]
    assert manifest_of(out, "train")["in"] > 0
    assert main(["evaluate", str(out)]) == 0
    assert made_again(out) == []


def test_lists_with_scores_take_the_place_of_labelled_ones(corpus, queries, texts, run_adapt, tmp_path, capsys):
    file, out = put(tmp_path / "nway.jsonl", *nway(queries, scored=True)), tmp_path / "run"
    options = ("--from-nway", str(file), "--from-queries", str(texts))
    assert run_adapt(corpus, out, *options, changes=(*FAST, "evaluate.rerank=")) == 0
    assert [stage["name"] for stage in report_of(out)["stages"]][4:] == ["steer", "label", "distill", "evaluate"]
    labelled = [*read_nway(out / "label" / "train.jsonl"), *read_nway(out / "label" / "dev.jsonl")]
    splits = json.loads((out / "sample" / "splits.json").read_text())
    assert len(labelled) == sum(side != "test" for side in splits.values())
    given = {example.query_id: example for example in read_nway(file)}
    for example in labelled:
        assert example.doc_ids[0] == given[example.query_id].doc_ids[0]
        assert (max(example.scores), min(example.scores)) == (1, 0)
    assert acclimate.open(out).search("lava", k=2)
    assert main(["report", str(out)]) == 0
    assert main(["curve", str(out), "--lists", "8"]) == 0
    assert undocumented(out) == set()


def test_somebody_elses_reranker_is_trained_by_nobody_and_serves(corpus, finished, run_adapt, tmp_path, capsys):
    model, out = tmp_path / "theirs", tmp_path / "run"
    shutil.copytree(finished / "train" / "reranker", model)
    changes = (*FAST, "label.teachers=bm25,reranker", "label.weights=equal")
    assert run_adapt(corpus, out, "--reranker", str(model), changes=changes) == 0
    assert "mine       skipped: " in capsys.readouterr().err
    assert manifest_of(out, "train")["notes"]["given"] == str(model)
    assert [path.name for path in (out / "train").iterdir() if path.is_dir()] == []
    assert undocumented(out) == set()
    teachers = {row["name"]: row["weight"] for row in report_of(out)["teachers"]}
    assert teachers["reranker"] == 0.5
    assert acclimate.open(out).search("lava", k=2, system="hybrid+reranker")[0].members["reranker"]
    assert run_adapt(corpus, out, "--reranker", f"cross-encoder:{model}", changes=changes) == 0
    assert made_again(out) == ["train", "label", "distill", "evaluate"] or made_again(out) == []
    (model / "README.md").write_text("other weights would be other bytes, too")
    assert main(["evaluate", str(out)]) == 0
    assert made_again(out)[0] == "train"


def test_a_run_of_a_search_engine_is_kept_and_measured_from_there(corpus, run_adapt, tmp_path):
    file, out = tmp_path / "engine.trec", tmp_path / "run"
    file.write_text("".join(f"{query.query_id} Q0 d0{n} {n} {9 - n}.5 engine\n" for query in QUERIES for n in (1, 2)))
    queries, qrels = write_labels(tmp_path)
    options = ("--first-stage", str(file), "--queries", queries, "--qrels", qrels)
    assert run_adapt(corpus, out, *options, changes=("distill.student=", "evaluate.rerank=")) == 0
    kept = [line.split("\t")[:5] for line in (out / "corpus" / "first-stage.trec").read_text().splitlines()]
    assert kept[:2] == [[QUERIES[0].query_id, "Q0", f"d0{n}", str(n), f"{9 - n}.5"] for n in (1, 2)]
    file.unlink()
    assert main(["evaluate", str(out), "--max-queries", "5"]) == 0
    assert "first-stage" in {system["name"] for system in report_of(out)["systems"]}


@pytest.mark.parametrize("option", ["--from-queries", "--from-nway", "--first-stage", "--reranker"])
def test_files_that_are_none_are_refused_in_a_line_and_leave_nothing(option, corpus, run_adapt, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "odd.jsonl").write_text('{"this": "is not it"}\n')
    (tmp_path / "binary.jsonl").write_bytes(bytes(range(256)))
    (tmp_path / "unknown.jsonl").write_text(
        {
            "--from-queries": '{"query_id": "q", "doc_id": "nowhere", "query": "what of it"}\n',
            "--from-nway": '{"query_id": "q", "doc_ids": ["nowhere", "d01"]}\n',
            "--first-stage": "q1 Q0 nowhere 1 1.0\n",
            "--reranker": "no model\n",
        }[option]
    )
    for name in ("pipe", "folder", "empty.jsonl", "odd.jsonl", "binary.jsonl", "unknown.jsonl", "no such file", ""):
        out = tmp_path / "run"
        assert run_adapt(corpus, out, option, str(tmp_path / name) if name else "") == 2, name
        said = [line for line in capsys.readouterr().err.splitlines() if "acclimate: " in line]
        assert len(said) == 1, (name, said)
        assert not out.exists(), name


@pytest.mark.parametrize("spelling", ["{}", "monot5:{}"])
def test_a_monot5_of_somebody_is_asked_as_it_was_made(spelling, corpus, run_adapt, tmp_path):
    from tiny import write_t5

    model = write_t5(tmp_path / "t5", {word for doc in DOCS for word in doc.default_text().split()})
    changes = ("distill.student=", "evaluate.rerank=bm25", "evaluate.rerank_depth=2", "evaluate.max_queries=2")
    assert run_adapt(corpus, tmp_path / "run", "--reranker", spelling.format(model), changes=changes) == 0
    assert "bm25+reranker" in {system["name"] for system in report_of(tmp_path / "run")["systems"]}


def test_an_encoder_that_nobody_taught_to_rate_is_no_reranker(corpus, run_adapt, tiny_encoder, tmp_path, capsys):
    for kind in ("", "cross-encoder:", "monot5:", "decoder:"):  # no other kind would do
        assert run_adapt(corpus, tmp_path / "run", "--reranker", f"{kind}{tiny_encoder}") == 2
        assert "that was not trained to score pairs" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
