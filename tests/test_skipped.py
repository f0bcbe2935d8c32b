"""What nothing reads is not made: the chain, what reads a run, and what foretells one all know it."""

from __future__ import annotations

import json
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from chain import FAST, made_again, report_of

import acclimate
from acclimate.base.errors import DataError
from acclimate.cli.main import main
from acclimate.corpus.near_duplicates import NearDuplicateDocs
from acclimate.run.provided import Provided
from acclimate.stages import distill
from acclimate.stages.runs import open_run
from acclimate.stages.skipped import provided_stages, skipped

pytestmark = pytest.mark.usefixtures("fake_llm")

NO_RERANKER = ("evaluate.rerank=", "label.teachers=bm25,dense")
NO_STUDENT = ("distill.student=",)


def inputs_of(run, stage):
    return set(json.loads((run / stage / "manifest.json").read_text())["inputs"])


@pytest.fixture(scope="module")
def without_reranker(corpus, run_adapt, tmp_path_factory):
    from chain import fake_answers

    out = tmp_path_factory.mktemp("without") / "run"
    with fake_answers():
        assert run_adapt(corpus, out, changes=(*FAST, *NO_RERANKER)) == 0
    return out


def test_without_a_reranker_nothing_is_mined_and_none_is_trained(without_reranker, capsys):
    stages = [stage["name"] for stage in report_of(without_reranker)["stages"]]
    assert stages == ["index", "sample", "generate", "filter", "steer", "label", "distill", "evaluate"]
    assert not (without_reranker / "train").exists()
    assert not (without_reranker / "mine").exists()
    assert not {"train", "mine"} & inputs_of(without_reranker, "evaluate")
    assert acclimate.open(without_reranker).search("lava", k=2)
    assert main(["report", str(without_reranker)]) == 0
    assert main(["inspect", str(without_reranker)]) == 0
    assert "reranker" not in str(acclimate.open(without_reranker).curve(queries=(4,), lists=(8,), progress=None))


def test_a_stage_that_nothing_reads_is_refused_by_name(without_reranker, capsys):
    for stage in ("mine", "train"):
        assert main([stage, str(without_reranker)]) == 2
        assert f"{stage} is skipped: n" in capsys.readouterr().err
        assert not (without_reranker / stage).exists()


def test_a_run_without_students_labels_nothing_and_has_no_lists_to_draw_a_curve_of(corpus, run_adapt, tmp_path, capsys):
    out = tmp_path / "run"
    assert run_adapt(corpus, out, changes=NO_STUDENT) == 0
    assert "label      skipped: no student" in capsys.readouterr().err
    assert [stage for stage in made_again(out) if stage in ("mine", "train", "label", "distill")] == ["mine", "train"]
    report = report_of(out)
    assert (report["teachers"], report["students"]) == ([], {})
    assert any(system["name"] == "hybrid+reranker" for system in report["systems"])
    assert not any("adapted" in system["name"] for system in report["systems"])
    assert acclimate.open(out).search("lava", k=2, system="hybrid+reranker")[0].members["reranker"]
    assert "reranker" in str(acclimate.open(out).curve(queries=(4,), progress=None))


def test_with_neither_there_is_what_one_has_and_weights_chosen_here(corpus, run_adapt, tmp_path, capsys):
    out = tmp_path / "run"
    changes = (*NO_STUDENT, *NO_RERANKER)
    assert run_adapt(corpus, out, "--dry-run", changes=changes) == 0
    foretold = capsys.readouterr().out
    assert [line.split()[0] for line in foretold.splitlines() if "skipped: its output is not needed" in line] == [
        "mine", "train", "label", "distill",
    ]  # fmt: skip
    assert run_adapt(corpus, out, changes=changes) == 0
    assert made_again(out) == ["index", "sample", "generate", "filter", "steer", "evaluate"]
    assert report_of(out)["candidate"].startswith("hybrid:tuned")
    with pytest.raises(DataError, match="no curve to draw: no system and no teacher has a reranker"):
        acclimate.open(out).curve()


def test_what_a_run_was_made_from_is_read_whatever_was_asked_for_since(copied, capsys):
    description = json.loads((copied / "run.json").read_text())
    description["settings"]["evaluate"]["rerank"] = []
    description["settings"]["label"]["teachers"] = ["bm25"]
    (copied / "run.json").write_text(json.dumps(description))
    _, outputs = open_run(copied, "evaluate")
    assert {"mine", "train"} <= outputs.keys()
    assert acclimate.open(copied).search("lava", k=2, system="hybrid+reranker")


def test_a_student_that_no_teacher_tells_is_mined_for_and_nothing_is_labelled(corpus, run_adapt, tmp_path, monkeypatch):
    out, given = tmp_path / "run", []

    def noting(*data, **settings):
        given.append(data)
        return train_students(*data, **settings)

    train_students = distill.train_students
    monkeypatch.setattr(distill, "train_students", noting)
    assert run_adapt(corpus, out, changes=(*FAST, "distill.loss=contrastive", "evaluate.rerank=")) == 0
    assert made_again(out) == ["index", "sample", "generate", "filter", "steer", "mine", "distill", "evaluate"]
    (([(train, dev)], _, data, *_),) = given
    assert isinstance(data.alike, NearDuplicateDocs)  # which are no negatives
    assert not {example.query_id for example in train} & {example.query_id for example in dev}


def test_a_stage_is_skipped_if_and_only_if_nothing_that_is_made_reads_it():
    students, losses, teachers = ((), ("static",)), ("kl", "contrastive"), (("bm25",), ("bm25", "reranker-a"))
    reranked, provided = ((), ("hybrid",), ("hybrid+own:model",)), (None, "mine", "label")
    for case in product(students, losses, teachers, reranked, provided, (None, "model")):
        student, loss, taught_by, systems, from_nway, reranker = case
        settings = {
            "distill": {"student": student, "loss": loss},
            "label": {"teachers": taught_by},
            "evaluate": {
                "rerank": [name for name in systems if "+" not in name],
                "systems": [name for name in systems if "+" in name],
            },
        }
        given = Provided(from_nway=from_nway, reranker=reranker)
        rated = SimpleNamespace(has_rated_examples=from_nway == "label")
        run: Any = SimpleNamespace(settings=settings, provided=given, input=rated, seeds_prompts=from_nway is None)
        stages = {*filter(None, ("train" if reranker else "", from_nway)), *(("sample", "generate") * bool(from_nway))}
        assert provided_stages(run) == stages

        read_by = {"seed": {"generate"}, "mine": set(), "train": set(), "label": set(), "distill": set()}
        if student:
            read_by["distill"].add("evaluate")
            read_by["mine" if loss == "contrastive" else "label"].add("distill")
        if "hybrid" in systems:
            read_by["train"].add("evaluate")
        if "reranker-a" in taught_by:
            read_by["train"].add("label")
        read_by["mine"].add("train")
        needed = {"generate", "evaluate"}
        for stage in ("distill", "label", "train", "mine", "seed"):
            if read_by[stage] & needed - stages:
                needed.add(stage)
        assert {*skipped(run)} == {*read_by} - needed, case
