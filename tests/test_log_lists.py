"""A run with a log: what people asked is labelled by the teacher and taught, but for what measures and chooses."""

from __future__ import annotations

import json
import shutil

import pytest
from chain import SMALL, contents, tiny_models
from files_page import undocumented

from acclimate.base.testing import QUERIES
from acclimate.corpus.formats import read_nway, read_synthetic
from acclimate.run.provided import Provided
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import resolve
from acclimate.stages.chain import STAGES, adapt, estimates
from acclimate.stages.runs import new_run
from acclimate.stages.sample import preview

pytestmark = pytest.mark.usefixtures("fake_llm")

ASKED = ["how does lava flow", "ice that moves downhill", "tall waves", "Ice that moves downhill", "zzz qqq"]


@pytest.fixture
def run_with(labelled, tiny_encoder, tmp_path):
    """The run with labels again, from what is there, with such a log."""
    shutil.copytree(labelled, tmp_path / "run")

    def make(asked, *changes):
        (tmp_path / "log.txt").write_text("".join(f"{text}\n" for text in asked))
        small = [*SMALL, *tiny_models(tiny_encoder), "distill.epochs=1", "evaluate.rerank_depth=3"]
        files = {name: str(labelled.parent / file) for name, file in LABELS.items()}
        settings = resolve(STAGES, load_recipe("quick"), [*small, "steer.log_queries=0", *changes])
        corpus = str(labelled.parent / "nature.jsonl")
        log = str(tmp_path / "log.txt") if asked else None
        return new_run(tmp_path / "run", corpus, settings, recipe="quick", seed=0, provided=Provided(**files, log=log))

    return make


LABELS = {"queries": "queries.jsonl", "qrels": "qrels.tsv"}


def test_a_log_teaches_beside_synthetic_queries(run_with, labelled, tmp_path):
    synthetic = list(read_synthetic(labelled / "filter" / "queries.jsonl"))
    splits = json.loads((labelled / "sample" / "splits.json").read_text())
    held_out = next(query for query in synthetic if splits[query.doc_id] == "dev")
    run = run_with([*ASKED, QUERIES[3].text.upper(), f" {held_out.text}"])
    outputs = adapt(run, until="distill")
    labeled = outputs["label"]
    assert [name for name, output in outputs.items() if not output.resumed] == ["steer", "label", "distill"]
    texts = {query.query_id: query.text for query in labeled.log_queries}
    assert {text.casefold() for text in texts.values()} == {text.casefold() for text in ASKED}
    assert next(iter(texts.values())).casefold() == "ice that moves downhill"  # most asked
    before = list(read_nway(labelled / "label" / "train.jsonl"))
    ((lists, dev),) = labeled.turns
    assert lists[: len(before)] == before
    assert {example.query_id for example in lists[len(before) :]} == set(texts)
    assert not any(example.has_positive for example in lists[len(before) :])
    assert dev == list(read_nway(labelled / "label" / "dev.jsonl"))
    manifest = labeled.manifest
    assert manifest["notes"]["log"] == {"queries": 4, "held_out": 2}
    assert manifest["in"] == manifest["out"] + sum(manifest["dropped"].values()) == len(before) + len(dev) + 4
    assert all(note["queries"] == len(before) + 4 for note in outputs["distill"].notes.values())
    assert undocumented(tmp_path / "run") == set()
    with_log = estimates(run, preview(run, run.input.corpus, 0.0))["distill"].flop
    without = run_with([])
    assert with_log > estimates(without, preview(without, without.input.corpus, 0.0))["distill"].flop

    made = contents(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "label")
    again = adapt(run_with([*ASKED, QUERIES[3].text.upper(), f" {held_out.text}"]), until="distill")
    assert [name for name, output in again.items() if not output.resumed] == ["label"]
    assert contents(tmp_path / "run") == made


@pytest.mark.parametrize(("asked", "changes"), [([], ()), (ASKED, ("label.log_queries=0",)), ([QUERIES[0].text], ())])
def test_without_a_query_to_label_the_lists_are_what_they_were(asked, changes, run_with, labelled, tmp_path):
    outputs = adapt(run_with(asked, *changes), until="label")
    assert outputs["label"].resumed == (not asked)
    assert outputs["label"].log_queries == []
    for name in ("train.jsonl", "dev.jsonl", "scores.jsonl"):
        assert (tmp_path / "run" / "label" / name).read_bytes() == (labelled / "label" / name).read_bytes()
    assert outputs["label"].notes == json.loads((labelled / "label" / "manifest.json").read_text())["notes"]


def test_queries_of_the_log_choose_or_teach_and_those_that_are_judged_do_neither(run_with, tmp_path):
    asked = [*ASKED, QUERIES[3].text.upper()]
    outputs = adapt(run_with(asked, "steer.log_queries=2"), until="label")
    chosen, taught = outputs["steer"].logged, [query.text for query in outputs["label"].log_queries]
    assert len(chosen) == 2
    assert {text.casefold() for text in (*chosen, *taught)} == {text.casefold() for text in ASKED}
    assert len(taught) == 2
    choosing = [json.loads(line) for line in (tmp_path / "run" / "steer" / "choosing.jsonl").open()]
    assert sum(row["weight"] for row in choosing if row["group"] == "log") == pytest.approx(2 / 52)
    assert sum(row["weight"] for row in choosing) == pytest.approx(1, abs=1e-6)
    assert (tmp_path / "run" / "steer" / "measuring.jsonl").read_text() == ""  # labelled queries measure
    assert outputs["label"].notes["chosen_on"].endswith(" and 2 of a log")
    assert undocumented(tmp_path / "run") == set()

    again = adapt(run_with(asked[::-1], "steer.log_queries=2"), until="label")
    assert all(output.resumed for output in again.values())  # the order of a log is nothing


def test_a_log_of_judged_queries_alone_chooses_nothing(run_with, labelled, tmp_path):
    outputs = adapt(run_with([QUERIES[3].text, QUERIES[5].text], "steer.log_queries=20"), until="steer")
    assert outputs["steer"].logged == []
    choosing = (tmp_path / "run" / "steer" / "choosing.jsonl").read_bytes()
    assert choosing == (labelled / "steer" / "choosing.jsonl").read_bytes()
