"""What of a run is used again and what is made again; the same inputs make the same bytes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chain import (
    STAGES,
    CountingLLM,
    contents,
    made_again,
    report_of,
)

import acclimate.llm
from acclimate.base.testing import DOCS
from acclimate.cli.main import main

pytestmark = pytest.mark.usefixtures("fake_llm")


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
    assert len([*(copied / "corpus").glob("*.arrow*")]) == 2  # with its digest; those of the earlier documents are gone
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


def test_a_draw_of_the_first_documents_follows_from_their_order(copied):
    assert main(["sample", str(copied), "--method", "first", "--n-docs", "20"]) == 0
    assert "order" in json.loads((copied / "sample" / "manifest.json").read_text())["inputs"]


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
