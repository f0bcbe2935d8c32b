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
from acclimate.base.errors import DataError, SettingError
from acclimate.base.testing import DOCS, QRELS
from acclimate.cli.main import main
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.measure.measures import MAIN
from acclimate.records import Qrel, Query, ScoredDoc
from acclimate.run.output import Account
from acclimate.run.workspace import Workspace
from acclimate.search import measuring
from acclimate.stages import forgetting

pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture
def outside(tmp_path):
    """A BEIR folder with half of the documents, and what people asked of them."""
    folder = tmp_path / "outside"
    (folder / "qrels").mkdir(parents=True)
    write_corpus(folder / "corpus.jsonl", DOCS[:20])
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
    others = {qrel.query_id: doc.default_text() for qrel, doc in zip(QRELS, [*DOCS[1:20], DOCS[0]], strict=False)}
    rows = [{"_id": query_id, "text": text} for query_id, text in others.items()]  # as in ArguAna
    (outside / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    searched: list[list[ScoredDoc]] = []
    monkeypatch.setattr(
        measuring, "per_query", lambda run, *_: {MAIN: searched.append(run) or dict.fromkeys(others, 0.5)}
    )
    acclimate.forgetting(copied, outside, progress=None)
    text_of = {doc.doc_id: doc.default_text() for doc in DOCS}
    assert searched and all(text_of[hit.doc_id] != others[hit.query_id] for run in searched for hit in run)


def test_what_cannot_tell_is_refused(copied, outside, corpus):
    with pytest.raises(DataError, match="has no judged queries"):
        acclimate.forgetting(copied, corpus, progress=None)
    (outside / "corpus.jsonl").write_bytes(corpus.read_bytes())
    with pytest.raises(SettingError, match="has the same documents as the run"):
        acclimate.forgetting(copied, outside, progress=None)
    with pytest.raises(DataError, match="nowhere"):
        acclimate.forgetting(copied, "nowhere/at-all", progress=None)


def test_what_was_measured_of_other_students_is_not_shown(tmp_path):
    def work(folder: Path, _) -> Account:
        (folder / "measured.json").write_text('{"collection": "elsewhere"}')
        return Account(1, 1)

    workspace, made_of = Workspace(tmp_path / forgetting.FOLDER / "elsewhere"), {"distill": "these"}
    workspace.make(forgetting.MEASURED, work, settings={}, inputs=made_of, seed=0)
    (tmp_path / forgetting.FOLDER / ".DS_Store").touch()  # left by a file manager
    run: Any = SimpleNamespace(workspace=Workspace(tmp_path))
    for outputs, shown in (({"distill": "these"}, 1), ({"distill": "others"}, 0), ({}, 0)):
        made: Any = {name: SimpleNamespace(fingerprint=fingerprint) for name, fingerprint in outputs.items()}
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
