"""Forgetting is measured on a labelled collection outside: untouched against adapted, and the report says it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chain import write_corpus, write_labels

import acclimate
from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError, SettingError
from acclimate.base.testing import DOCS, QRELS
from acclimate.cli.main import main
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.measure.measures import MAIN
from acclimate.records import Doc, Qrel, Query, ScoredDoc
from acclimate.report.forgetting import is_elsewhere, warnings
from acclimate.run.output import Account
from acclimate.run.workspace import Workspace
from acclimate.search import measuring
from acclimate.stages import forgetting

pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture
def outside(tmp_path):
    """A BEIR folder with half of the documents, four of them word for word, and what people asked of them."""
    folder = tmp_path / "outside"
    (folder / "qrels").mkdir(parents=True)
    rewritten = [doc._replace(text=f"{doc.text} Elsewhere.") for doc in DOCS[:16]]
    write_corpus(folder / "corpus.jsonl", [*rewritten, *(doc._replace(text=f"{doc.text} ") for doc in DOCS[16:20])])
    write_labels(folder, QRELS[:20])
    (folder / "qrels" / "test.tsv").write_bytes((folder / "qrels.tsv").read_bytes())
    return folder


def test_each_adapted_retriever_is_held_against_what_it_was_made_from(copied, outside, capsys):
    assert acclimate.open(copied).report["forgetting"] == []
    assert "No other collection was measured" in " ".join(acclimate.open(copied).report.warnings)
    assert main(["forgetting", str(copied), str(outside)]) == 0
    out = capsys.readouterr().out
    report = acclimate.open(copied).report
    (measured,) = report["forgetting"]
    assert (measured["collection"], measured["documents"], measured["queries"]) == ("outside", 20, 20)
    shared = "4 of the 20 documents of outside are also in this corpus, so it shows less"
    assert measured["shared"] == 4 and shared in " ".join(out.split()) and shared in " ".join(report.warnings)
    rows = {row["system"]: row for row in measured["systems"]}
    assert {"dense:adapted", "late-interaction:adapted", "hybrid:adapted"} <= rows.keys()
    for name, row in rows.items():
        assert row["delta"] == pytest.approx(row["nDCG@10"] - row["before"], abs=2e-5)
        assert row["ci95"][0] <= row["delta"] <= row["ci95"][1]
        assert row["baseline"] == ("hybrid:tuned" if name == "hybrid:adapted" else name.removesuffix(":adapted"))
        assert f"outside (20 labelled queries, 20 documents), {name} " in out
        assert f", {name} " in " ".join(str(report).split())
        assert any(f", {name} got worse" in warning for warning in report.warnings) == (row["verdict"] == "REGRESSION")
    assert "No other collection was measured" not in " ".join(report.warnings)
    (path,) = copied.glob("forgetting/*/measured/measured.json")
    before = path.read_bytes()
    again = acclimate.forgetting(copied, outside, progress=None)
    assert (again["systems"], repr(again)) == (measured["systems"], "<Forgetting on 'outside'>")  # made already
    assert path.read_bytes() == before and json.loads(before) == measured
    assert not list(copied.glob("forgetting/*/measured/students"))


def test_queries_that_are_documents_do_not_find_themselves(copied, outside, monkeypatch):
    lines = (outside / "corpus.jsonl").read_text().splitlines()
    docs = [Doc(row["_id"], row["text"], row["title"]) for row in map(json.loads, lines)]
    others = {qrel.query_id: doc.default_text() for qrel, doc in zip(QRELS, [*docs[1:], docs[0]], strict=False)}
    rows = [{"_id": query_id, "text": text} for query_id, text in others.items()]  # as in ArguAna
    (outside / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    searched: list[list[ScoredDoc]] = []
    monkeypatch.setattr(
        measuring, "per_query", lambda run, *_: {MAIN: searched.append(run) or dict.fromkeys(others, 0.5)}
    )
    acclimate.forgetting(copied, outside, progress=None)
    text_of = {doc.doc_id: doc.default_text() for doc in docs}
    assert searched and all(text_of[hit.doc_id] != others[hit.query_id] for run in searched for hit in run)


def test_what_cannot_tell_is_refused(copied, outside, corpus):
    with pytest.raises(DataError, match="has no judged queries"):
        acclimate.forgetting(copied, corpus, progress=None)
    (outside / "corpus.jsonl").write_bytes(corpus.read_bytes())
    with pytest.raises(SettingError, match="has the same documents as the run"):
        acclimate.forgetting(copied, outside, progress=None)
    with pytest.raises(DataError, match="nowhere"):
        acclimate.forgetting(copied, "nowhere/at-all", progress=None)


@pytest.mark.parametrize(("shared", "elsewhere"), [(0, True), (9, True), (10, False), (20, False)])
def test_a_collection_of_mostly_the_same_documents_is_not_another(shared, elsewhere):
    measured = {"collection": "c", "documents": 20, "queries": 5, "systems": [], "shared": shared}
    assert is_elsewhere(measured) == elsewhere
    assert len(warnings(measured)) == (shared > 0)


def test_what_was_measured_of_other_students_or_weights_is_not_shown(tmp_path):
    def work(folder: Path, _) -> Account:
        (folder / "measured.json").write_text('{"collection": "elsewhere"}')
        return Account(1, 1)

    workspace, made_of = Workspace(tmp_path / forgetting.FOLDER / "elsewhere"), {"distill": "these"}
    made_of["evaluate"] = fingerprint("chosen")
    workspace.make(forgetting.MEASURED, work, settings={}, inputs=made_of, seed=0)
    (tmp_path / forgetting.FOLDER / ".DS_Store").touch()  # left by a file manager
    run: Any = SimpleNamespace(workspace=Workspace(tmp_path))
    for students, weights, shown in (
        ("these", "chosen", 1),
        ("others", "chosen", 0),
        ("these", "others", 0),
        ("", "", 0),
    ):
        made: Any = {"distill": SimpleNamespace(fingerprint=students)} if students else {}
        made["evaluate"] = SimpleNamespace(chosen=SimpleNamespace(weights=weights))
        assert forgetting.measurements(run, made) == [{"collection": "elsewhere"}] * shown


def test_a_measurement_depends_on_all_that_it_is_made_of(monkeypatch):
    judged = JudgedQueries("test", [Query("a", "x")], [Qrel("a", "1", 1)])
    reached: dict[str, Any] = {}

    def make(_, work, *, inputs, seed, **__):
        reached.update(inputs, seed=seed)
        return SimpleNamespace(folder=None, manifest=None, resumed=False)

    def made_of(documents="documents", students="students", weight=0.5, labels=judged, max_queries=9, seed=0):
        held, own = (SimpleNamespace(fingerprint=each) for each in (documents, "own"))
        outside = SimpleNamespace(
            input=SimpleNamespace(labels=SimpleNamespace(measuring=labels), documents=held),
            workspace=SimpleNamespace(make=make),
        )
        settings, inputs = {"evaluate": {"max_queries": max_queries}}, SimpleNamespace(documents=own)
        run: Any = SimpleNamespace(input=inputs, settings=settings, seed=seed, workspace=Workspace(Path("run")))
        chosen = SimpleNamespace(weights={"hybrid:adapted": {"bm25": weight, "dense:adapted": 1 - weight}})
        outputs: Any = {
            "distill": SimpleNamespace(fingerprint=students), "evaluate": SimpleNamespace(chosen=chosen)
        }  # fmt: skip
        monkeypatch.setattr(forgetting, "Run", lambda *_: outside)
        monkeypatch.setattr(forgetting.index, "make", lambda _: held)
        monkeypatch.setattr(forgetting.collections, "check_name", lambda _: None)
        forgetting.make(run, outputs, "elsewhere")
        return dict(reached)

    changes: list[dict[str, Any]] = [
        {"documents": "others"},
        {"students": "others"},
        {"weight": 0.4},
        {"labels": replace(judged, qrels=[Qrel("a", "2", 1)])},
        {"max_queries": 8},
        {"seed": 1},
    ]
    before = made_of()
    for change in changes:
        after = made_of(**change)
        assert sum(after[name] != before[name] for name in before) == 1, change
    assert made_of() == before
