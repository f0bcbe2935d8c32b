"""Whole runs that teach as UDAPDR and CADET do: windows of unseen queries, and margins of a cross-encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import write_cross_encoder

import acclimate
from acclimate.search import scorers
from acclimate.search.scorers import named


@pytest.mark.slow
@pytest.mark.usefixtures("fake_llm")
def test_rerankers_alone_teach_windows_of_unseen_queries(corpus, run_adapt, tmp_path, capsys):
    changes = (
        "generate.prompt=question,claim", "train.rerankers=prompt", "train.max_queries=4", "train.min_queries=1",
        "label.teachers=reranker", "label.weights=equal", "label.queries=unseen", "label.candidates=dense",
        "label.windows=3", "label.n_ways=10", "label.normalize=none", "distill.student=late-interaction",
        "distill.contrastive=0", "distill.teacher_temperature=1", "distill.max_sim=sum", "distill.schedule=constant",
        "distill.evaluations=1", "distill.document_ways=4", "distill.epochs=1",
    )  # fmt: skip
    out = tmp_path / "run"
    assert run_adapt(corpus, out, changes=changes) == 0
    read = [json.loads(line) for line in (out / "label" / "train.jsonl").read_text().splitlines()]
    taught = json.loads((out / "train" / "queries.json").read_text())
    assert len(taught) == 2
    assert not {row["query_id"] for row in read} & {query_id for ids in taught.values() for query_id in ids}
    counts = {row["query_id"]: 0 for row in read}
    for row in read:
        counts[row["query_id"]] += 1
        assert len(row["doc_ids"]) == 4
    assert set(counts.values()) == {3}
    manifest = json.loads((out / "label" / "manifest.json").read_text())
    assert manifest["dropped"]["a reranker learned from it"] == 8
    assert sum(manifest["dropped"].values()) + manifest["out"] == manifest["in"]
    assert run_adapt(corpus, tmp_path / "few", changes=(*changes, "train.max_queries=400")) == 2
    assert "label.queries=unseen" in capsys.readouterr().err
    assert not (tmp_path / "few" / "index").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("fake_llm")
def test_a_published_cross_encoder_teaches_margins_of_what_dense_retrieval_finds(
    corpus, run_adapt, tiny_encoder, tmp_path
):
    model = write_cross_encoder(tmp_path / "teacher", tiny_encoder)
    changes = (
        f"label.teachers=cross-encoder:{model}", "label.weights=equal", "label.normalize=none", "label.n_ways=9",
        "label.reranker_ways=9", "label.candidates=dense", "distill.student=dense", "distill.loss=margin-mse",
        "distill.contrastive=0", "distill.teacher_temperature=1", "distill.student_temperature=0.05",
        "distill.document_ways=2", "distill.ways_by=random", "distill.max_steps=12", "distill.batch_size=4",
        "distill.evaluations=1",
    )  # fmt: skip
    out = tmp_path / "run"
    assert run_adapt(corpus, out, changes=changes) == 0
    notes = json.loads((out / "distill" / "manifest.json").read_text())["notes"]["dense"]
    assert (notes["steps"], len(notes["dev_loss"]), notes["best_epoch"]) == (12, 2, 1)
    said = json.loads((out / "label" / "manifest.json").read_text())["notes"]
    assert said["scale"] == {"normalize": "none", "target": "as rated"}
    rows = [json.loads(line) for line in (out / "label" / "scores.jsonl").read_text().splitlines()]
    rated = {
        row["query_id"]: dict(zip(row["doc_ids"], row["raw"][f"cross-encoder:{model}"], strict=True)) for row in rows
    }
    for line in (out / "label" / "train.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["scores"] == pytest.approx([rated[row["query_id"]][doc_id] for doc_id in row["doc_ids"]], abs=1e-5)
    shares = (*changes, "distill.contrastive=0.1", "distill.mask_above=0.6")
    assert run_adapt(corpus, tmp_path / "shares", changes=shares) == 2


def test_a_teacher_is_given_as_much_of_a_document_as_students_read(copied, tiny_encoder, tmp_path, monkeypatch):
    load, given = named.load, []

    def watched(name, corpus, *, max_doc_tokens):
        given.append((name, max_doc_tokens))
        return load(name, corpus, max_doc_tokens=max_doc_tokens)

    monkeypatch.setattr(named, "load", watched)
    teacher = f"cross-encoder:{write_cross_encoder(tmp_path / 'teacher', tiny_encoder)}"
    acclimate.label(copied, teachers=teacher, weights="equal")
    settings = json.loads((copied / "run.json").read_text())["settings"]
    assert set(given) == {(teacher, settings["index"]["max_tokens"])}


def test_a_trained_reranker_scores_as_many_tokens_as_it_was_trained_on(copied, monkeypatch):
    load, given = scorers.load, []

    def watched(name, corpus, **limits):
        given.append((Path(name).name, limits))
        return load(name, corpus, **limits)

    monkeypatch.setattr(scorers, "load", watched)
    acclimate.label(copied, teachers="reranker", weights="equal")
    settings = json.loads((copied / "run.json").read_text())["settings"]
    assert given == [("reranker", {"max_tokens": settings["train"]["max_tokens"]})]
