"""The whole chain: what it leaves, what it uses again, and that the same inputs give the same bytes.

One run is shared and copied; its models are tiny and its LLM is a fake, so a run takes seconds.
The models that travel as packages run in test_package.py.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chain import (
    FAST,
    SERVED,
    STAGES,
    CountingLLM,
    contents,
    fake_answers,
    made_again,
    report_of,
    write_corpus,
    write_labels,
)
from tiny import write_llama

import acclimate.llm
from acclimate.base.testing import DOCS, QRELS, QUERIES
from acclimate.cli.main import main
from acclimate.corpus import formats
from acclimate.records import Doc, Qrel

pytestmark = pytest.mark.usefixtures("fake_llm")

MEASURES = {"nDCG@10", "R@100", "RR@10", "Success@5"}

# What a run leaves


def test_the_report_has_the_fields_that_programs_rely_on(finished):
    report = report_of(finished)
    assert report["verdict"] in ("WIN", "NO DIFFERENCE", "REGRESSION")
    assert report["verdict_basis"] == "synthetic"
    names = [system["name"] for system in report["systems"]]
    assert {"bm25", "dense", "late-interaction", "hybrid", "hybrid+reranker"} <= set(names)
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


def test_runs_are_read_by_ir_measures(finished):
    import ir_measures

    splits = json.loads((finished / "sample" / "splits.json").read_text())
    queries = [json.loads(line) for line in (finished / "filter" / "queries.jsonl").read_text().splitlines()]
    qrels = [ir_measures.Qrel(q["query_id"], q["doc_id"], 1) for q in queries if splits[q["doc_id"]] == "test"]
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
    assert [row["name"] for row in manifest["notes"]["teachers"]] == [
        "bm25", "dense", "late-interaction", *turns[1:], "teacher",
    ]  # fmt: skip
    rows = {row["query_id"]: row for row in map(json.loads, (folder / "scores.jsonl").read_text().splitlines())}
    for number, teacher in enumerate(turns, 1):
        lessons = [json.loads(line) for line in (folder / f"train-{number}.jsonl").read_text().splitlines()]
        assert lessons
        for lesson in lessons:
            row = rows[lesson["query_id"]]
            assert len(row["raw"][teacher]) == len(row["normalized"][teacher]) == len(row["doc_ids"])
            pairs = zip(row["doc_ids"], row["raw"][teacher], strict=True)
            assert set(lesson["doc_ids"]) == {doc_id for doc_id, score in pairs if score is not None}
            assert len(lesson["doc_ids"]) == (6 if teacher != "dense" else len(row["doc_ids"]))
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
    assert {splits[sources[lesson["query_id"]]] for lesson in lessons} == {"train"}
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
    assert sorted(path.name for path in corpus.parent.iterdir()) == before


# What is used again, and what is made again


def test_the_same_command_again_makes_nothing_and_loads_no_model(corpus, copied, run_adapt, monkeypatch, capsys):
    from acclimate.search.encoder import Encoder

    monkeypatch.setattr(Encoder, "load", lambda *_, **__: pytest.fail("the encoder was loaded"))
    monkeypatch.setattr(acclimate.llm, "load", lambda *_, **__: pytest.fail("the LLM was loaded"))
    first = report_of(copied)
    started = time.monotonic()
    assert run_adapt(corpus, copied) == 0
    assert time.monotonic() - started < 15  # a second, on a machine with nothing else to do
    again = report_of(copied)
    assert made_again(copied) == []
    for report in (first, again):
        for stage in report["stages"]:
            del stage["resumed"]
    assert again == first
    out, err = capsys.readouterr()
    assert first["verdict"] in out
    assert "made already" not in out
    assert err.count("made already") == len(STAGES)


def test_a_finished_run_needs_none_of_the_libraries_that_load_models(copied):
    """Repeating a command takes the time of reading some files."""
    script = (
        "import sys; from acclimate.cli.main import main; code = main(['report', sys.argv[1]]); "
        "heavy = {'transformers', 'sentence_transformers', 'bm25s', 'datasets'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(copied)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Report:" in done.stdout


@pytest.mark.slow
def test_a_changed_byte_of_a_drawn_document_makes_what_depends_on_it_again(copied, run_adapt, corpus, tmp_path):
    splits = json.loads((copied / "sample" / "splits.json").read_text())
    lines = corpus.read_text().splitlines(keepends=True)
    at = next(number for number, doc in enumerate(DOCS) if doc.doc_id in splits and number > 0)
    changed = tmp_path / corpus.name
    changed.write_text("".join([*lines[:at], lines[at].replace(".", "!", 1), *lines[at + 1 :]]))
    before = CountingLLM.asked
    assert run_adapt(changed, copied) == 0
    assert CountingLLM.asked == before + 1
    assert made_again(copied)[:3] == ["index", "sample", "generate"]
    whole = tmp_path / "whole"
    assert run_adapt(changed, whole) == 0
    assert contents(copied)["evaluate/runs/bm25.trec"] == contents(whole)["evaluate/runs/bm25.trec"]
    assert contents(copied)["distill/manifest.json"] == contents(whole)["distill/manifest.json"]


def test_a_changed_filter_makes_only_what_comes_after_it_again(corpus, copied, run_adapt, capsys):
    before = CountingLLM.asked
    assert run_adapt(corpus, copied, changes=("filter.filters=duplicates",)) == 0
    assert CountingLLM.asked == before
    again = made_again(copied)
    assert again[0] == "filter"
    assert not {"index", "sample", "generate"} & set(again)
    assert "filter     is made again: filters was" in capsys.readouterr().err


def test_a_change_that_changes_nothing_stops_there(corpus, copied, run_adapt):
    """What comes after a stage is made again only when the stage comes to other bytes."""
    assert run_adapt(corpus, copied, changes=("filter.keep_top_k=9999",)) == 0
    assert made_again(copied) == ["filter"]


def test_a_changed_student_setting_makes_distill_and_evaluate_again(corpus, copied, run_adapt):
    assert run_adapt(corpus, copied, changes=("distill.learning_rate=1e-3",)) == 0
    assert made_again(copied) == ["distill", "evaluate"]


def test_a_damaged_stage_is_made_again_to_the_same_bytes(corpus, copied, run_adapt, finished):
    (copied / "mine" / "examples.jsonl").write_text("")
    assert run_adapt(corpus, copied) == 0
    assert made_again(copied) == ["mine"]
    assert contents(copied)["mine/examples.jsonl"] == contents(finished)["mine/examples.jsonl"]


def test_what_a_killed_process_leaves_is_no_result(corpus, copied, run_adapt, finished):
    """Half a file of its, and a stage whose manifest was just written."""
    key = json.loads((copied / "mine" / "manifest.json").read_text())["fingerprint"]
    (copied / "mine" / "manifest.json").unlink()
    (copied / "mine" / "begun.json").write_text(json.dumps({"key": key}))
    for folder in ("mine", "filter", "corpus", "."):
        (copied / folder / ".queries.jsonl.123.part").write_text('{"half')
    (copied / "filter" / "begun.json").write_text("0")
    assert run_adapt(corpus, copied) == 0
    assert made_again(copied) == ["mine"]
    one, other = contents(finished), contents(copied)
    assert [name for name in {*one, *other} if one.get(name) != other.get(name)] == []


def test_stages_are_made_up_to_the_one_named(corpus, run_adapt, tmp_path, copied, capsys):
    assert main(["filter", str(copied), "--round-trip-k", "5"]) == 0
    assert "nDCG" not in capsys.readouterr().out  # the funnel and no report
    assert json.loads((copied / "filter" / "manifest.json").read_text())["settings"]["round_trip_k"] == 5


def test_a_diverse_draw_follows_from_the_index_and_a_uniform_one_does_not(copied, tmp_path):
    def drawn(run: Path) -> tuple[dict[str, str], bytes]:
        assert main(["sample", str(run), "--method", "diverse", "--n-docs", "20", "--n-clusters", "3"]) == 0
        return json.loads((run / "sample" / "manifest.json").read_text())["inputs"], contents(run)["sample/splits.json"]

    shutil.copytree(copied, tmp_path / "other")
    uniform = json.loads((copied / "sample" / "manifest.json").read_text())["inputs"]
    (inputs, splits), again = drawn(copied), drawn(tmp_path / "other")
    assert "index" in inputs and "index" not in uniform
    assert (inputs, splits) == again
    assert len(json.loads(splits)) == 20


# The same inputs, the same bytes


@pytest.mark.slow
def test_two_runs_with_one_seed_are_the_same_bytes(corpus, finished, run_adapt, tmp_path):
    assert run_adapt(corpus, tmp_path / "run") == 0
    one, other = contents(finished), contents(tmp_path / "run")
    assert sorted(one) == sorted(other)
    assert [name for name in one if one[name] != other[name]] == []


@pytest.mark.slow
def test_another_seed_draws_other_documents(corpus, finished, run_adapt, tmp_path):
    assert run_adapt(corpus, tmp_path / "run", seed=1, changes=("sample.n_docs=30",)) == 0
    assert report_of(tmp_path / "run")["seed"] == 1
    assert contents(finished)["sample/splits.json"] != contents(tmp_path / "run")["sample/splits.json"]


@pytest.mark.slow
def test_the_order_of_the_documents_changes_no_draw_and_no_query(corpus, finished, run_adapt, tmp_path):
    lines = corpus.read_text().splitlines(keepends=True)
    shuffled = tmp_path / corpus.name
    shuffled.write_text("".join(reversed(lines)))
    assert run_adapt(shuffled, tmp_path / "run") == 0
    one, other = contents(finished), contents(tmp_path / "run")
    for name in ("sample/splits.json", "generate/queries.jsonl", "filter/queries.jsonl", "mine/examples.jsonl"):
        assert one[name] == other[name], name


@pytest.mark.slow
def test_documents_in_another_order_are_indexed_again(corpus, copied, run_adapt, tmp_path, capsys):
    """A row of the index is a place in the corpus."""
    shuffled = tmp_path / corpus.name
    shuffled.write_text("".join(reversed(corpus.read_text().splitlines(keepends=True))))
    assert run_adapt(shuffled, copied) == 0
    assert {"index", "evaluate"} <= set(made_again(copied))
    assert not {"sample", "generate"} & set(made_again(copied))
    capsys.readouterr()
    assert main(["search", str(copied), "lava", "--k", "1", "--system", "bm25"]) == 0
    assert "Volcano" in capsys.readouterr().out


# Labels


@pytest.mark.slow
def test_labelled_queries_are_measured_on_and_never_trained_on(corpus, run_adapt, tmp_path):
    queries, qrels = write_labels(tmp_path)
    out = tmp_path / "run"
    assert run_adapt(corpus, out, "--queries", queries, "--qrels", qrels, changes=FAST) == 0
    report = report_of(out)
    assert report["verdict_basis"] == "qrels"
    assert report["queries"]["count"] == len(QUERIES)
    assert set(json.loads((out / "sample" / "splits.json").read_text()).values()) == {"train", "dev"}
    bm25 = next(system for system in report["systems"] if system["name"] == "bm25")
    assert bm25["measures"]["nDCG@10"] > 0.5
    written = {query.query_id for query in QUERIES}
    assert not written & {json.loads(line)["query_id"] for line in (out / "mine" / "examples.jsonl").open()}


ODD_IDS = [
    "My notes {}.txt",
    "日本 語{}.md",
    "a\tb{}",
    "a\nb{}",
    "50%{}",
    "a%20b{}",
    " {} ",
    "\\u0020{}",
    "x\x00\u2028{}",
]


@pytest.mark.slow
def test_a_beir_folder_brings_its_own_labels_whatever_the_ids(run_adapt, tmp_path, capsys):
    """Through to the report, and the files that it leaves give its figures."""
    odd = {one: ODD_IDS[at % len(ODD_IDS)].format(at) for at in range(len(DOCS)) for one in (f"d{at:02}", f"q{at:02}")}
    folder, out = tmp_path / "beir", tmp_path / "run"
    folder.mkdir()
    write_corpus(folder / "corpus.jsonl", [doc._replace(doc_id=odd[doc.doc_id]) for doc in DOCS])
    formats.write_queries(folder / "queries.jsonl", [query._replace(query_id=odd[query.query_id]) for query in QUERIES])
    qrels = [Qrel(odd[one.query_id], odd[one.doc_id], one.relevance) for one in QRELS]
    formats.write_qrels(folder / "qrels" / "test.tsv", qrels)
    assert run_adapt(folder, out, changes=FAST) == 0
    report = report_of(out)
    assert report["verdict_basis"] == "qrels"
    for judged in (folder / "qrels" / "test.tsv", out / "evaluate" / "qrels.trec"):
        for system in report["systems"]:
            run = str(out / "evaluate" / "runs" / f"{system['name'].replace(':', '-')}.trec")
            capsys.readouterr()
            assert main(["compare", str(judged), run, run]) == 0
            figure = float(capsys.readouterr().out.split()[1])
            assert figure == pytest.approx(system["measures"]["nDCG@10"], abs=1e-4), system["name"]


# Passages

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
    assert report["verdict_basis"] == "qrels" and "dev queries" in report["chosen_on"]
    assert report["stages"][0]["in"] == len(LONG) < report["stages"][0]["out"]
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
    assert re.search(r"long#0#\d  \(of long#0\)  Facts 0", first)
    assert "Molten rock" in text
    assert main(["search", str(of_passages), "lava", "--k", "30"]) == 0
    found = re.findall(r"\(of (\S+)\)", capsys.readouterr().out)
    assert len(found) == len(set(found)) > 0


@pytest.mark.slow
def test_passages_without_labels_are_measured_by_documents_too(run_adapt, tmp_path):
    out = tmp_path / "run"
    assert run_adapt(write_corpus(tmp_path / "long.jsonl", LONG), out, changes=PASSAGES) == 0
    report = report_of(out)
    assert report["verdict_basis"] == "synthetic"
    assert {one["name"]: one["measures"]["nDCG@10"] for one in report["systems"]}["bm25"] > 0.7


def test_where_no_document_is_long_asking_for_passages_changes_nothing(corpus, copied, run_adapt):
    before = contents(copied)
    assert run_adapt(corpus, copied, changes=("index.passage_words=1000",)) == 0
    assert made_again(copied) == ["index"]
    assert [name for name in before if name.endswith(".trec") and contents(copied)[name] != before[name]] == []


# Budgets


@pytest.mark.slow
def test_a_token_budget_stops_with_3_and_a_higher_one_goes_on_where_it_was(
    corpus, finished, run_adapt, tmp_path, capsys, monkeypatch
):
    from acclimate.llm import completions

    monkeypatch.setattr(completions, "BATCH_PROMPTS", 4)
    out = tmp_path / "run"
    assert run_adapt(corpus, out, "--max-tokens", "600") == 3
    assert not capsys.readouterr().out
    with sqlite3.connect(out / "completions.sqlite") as rows:
        kept = rows.execute("SELECT count(*) FROM completions").fetchone()[0]
    assert 0 < kept < 36
    assert not (out / "generate" / "manifest.json").exists()
    before = CountingLLM.asked
    assert run_adapt(corpus, out, "--max-tokens", "1000000") == 0
    assert CountingLLM.asked - before == 36 - kept
    one, other = contents(finished), contents(out)
    assert one["generate/queries.jsonl"] == other["generate/queries.jsonl"]
    assert [name for name in one if one[name] != other.get(name)] == ["run.json"]  # which has the limit
    assert json.loads((out / "run.json").read_text())["max_tokens"] == ["1000000"]
    assert main(["generate", str(out), "--temperature", "0.5"]) == 0
    assert main(["adapt", str(corpus), "--out", str(out), "--max-tokens", "nonsense"]) == 2
    before = CountingLLM.asked
    assert run_adapt(corpus, out, "--max-tokens", "600") == 0  # all is answered: there is nothing to pay for
    assert CountingLLM.asked == before


def test_a_stage_s_command_goes_on_under_the_limits_of_its_run(corpus, run_adapt, tmp_path, capsys, monkeypatch):
    from acclimate.llm import completions

    monkeypatch.setattr(completions, "BATCH_PROMPTS", 4)
    out = tmp_path / "run"
    assert run_adapt(corpus, out, "--max-tokens", "600") == 3
    before = CountingLLM.asked
    for command in ("generate", "evaluate"):
        assert main([command, str(out)]) == 3
    assert CountingLLM.asked == before
    assert "--max-tokens 600" in capsys.readouterr().err


@pytest.mark.slow
def test_an_llm_behind_a_server_stops_at_its_cost_goes_on_and_leaves_no_key(
    corpus, run_adapt, tmp_path, capsys, monkeypatch
):
    pytest.importorskip("openai", reason="the openai extra is not installed")
    from test_server import chat, serving

    def reply(request, nth):
        document = request["messages"][0]["content"].rpartition("Document:")[2].partition("\n")[0]
        return chat("what about " + " ".join(sorted(set(document.split()), key=len)[-3:]))

    monkeypatch.setattr("acclimate.llm.load", SERVED)
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    prices = tmp_path / "prices.toml"
    prices.write_text('["openai:tiny"]\nprompt = 100000\ncompletion = 0\n')  # $0.90 an answer
    out = tmp_path / "run"
    with serving(reply) as server:
        options = [corpus, out, "--set", f"generate.llm=openai:tiny@{server.url}", "--prices", str(prices)]
        assert run_adapt(*options, "--max-cost", "8") == 3
        assert "--max-cost 8" in capsys.readouterr().err
        asked = len(server.requests)
        assert 9 <= asked < 36
        assert run_adapt(*options) == 0
        assert len(server.requests) == 36
        assert run_adapt(*options) == 0
        assert len(server.requests) == 36
    generated = {stage["name"]: stage for stage in report_of(out)["stages"]}["generate"]
    assert generated["cost_usd"] == pytest.approx(36 * 0.9)
    assert all(b"secret-key" not in path.read_bytes() for path in out.rglob("*") if path.is_file())


# Searching what was made


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
