"""`acclimate update`: after it, a run searches as if its documents had been indexed anew."""

from __future__ import annotations

import json
import os
import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from chain import documents_of, write_corpus
from files_page import undocumented

import acclimate
from acclimate.base.errors import AcclimateError, DataError, SettingError
from acclimate.base.text import command
from acclimate.cli.main import main
from acclimate.corpus.collections import Collection, passages
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats.fields import Located, Place
from acclimate.deploy.updating.changes import Changes, Rows, read_ids
from acclimate.deploy.updating.update import _corpora
from acclimate.records import Doc
from acclimate.run.input import CorpusFiles, Input
from acclimate.run.provided import NOTHING
from acclimate.run.updated import LastUpdate
from acclimate.search.bm25 import BM25
from acclimate.search.term_counts import TermCounts

QUERIES = {"1": "lava and ash", "2": "cheese whose curds are pressed", "3": "zircon glaciers", "4": "zzz", "5": "the"}
CAME = [Doc("zircon", "Zircon outlives glaciers; lava brings it up.", "Zircon"), Doc("moss", "", "Moss on old lava")]


@pytest.fixture
def run_folder(request, tmp_path):
    shutil.copytree(request.getfixturevalue(request.param), tmp_path / "run")
    return tmp_path / "run"


def indexed_anew(folder, docs, into):
    """The systems of a run over these documents, each index made as the stages make it."""
    from acclimate.stages.index import index
    from acclimate.stages.runs import open_run

    run, outputs = open_run(folder, "evaluate")
    Corpus.build(docs, folder / "corpus" / "anew.arrow")
    run.kept, run.updated_folder = CorpusFiles("anew.arrow"), into
    index(run.input.corpus, run.base.encoder, into, **run.settings["index"])
    outputs["distill"].students(run).index()
    return run, outputs


def assert_searches_as_anew(folder, into):
    from acclimate.deploy.searchers import Searchers

    run, outputs = indexed_anew(folder, documents_of(folder), into)
    anew, updated = Searchers(run, outputs), acclimate.open(folder)
    queries = [acclimate.Query(*pair) for pair in QUERIES.items()]
    systems = [system.name for system in updated.report.systems]
    assert len(systems) > 4
    for name in systems:
        assert updated(QUERIES, k=30, system=name) == anew.scored(queries, 30, name), name


@pytest.mark.parametrize("run_folder", ["finished", "students"], indirect=True)
def test_an_updated_run_searches_as_one_that_was_indexed_anew(run_folder, tmp_path):
    old = documents_of(run_folder)
    new = [old[3]._replace(text="Now about zircon and ash."), old[5], *CAME]
    (tmp_path / "gone.txt").write_text(f"{old[1].doc_id}\n\n{old[7].doc_id}\n")
    run = acclimate.open(run_folder)
    result = run.update(write_corpus(tmp_path / "new.jsonl", new), remove=tmp_path / "gone.txt")
    assert result.changes == result.since == {"came": 2, "changed": 1, "went": 2}
    assert result.documents == len(old)
    assert run.search("zircon glaciers", k=1, system="bm25")[0].document_id == "zircon"
    assert_searches_as_anew(run_folder, tmp_path / "anew")
    # A second one goes on from the first, and from what is kept of it.
    again = run.update(write_corpus(tmp_path / "newer.jsonl", [old[1], *CAME[:1]]), all=True)
    assert again.changes == {"came": 1, "changed": 0, "went": len(old) - 1}
    assert [doc.doc_id for doc in documents_of(run_folder)] == [old[1].doc_id, "zircon"]


def test_a_field_that_is_another_is_a_change(copied, tmp_path):
    from acclimate.stages.runs import open_latest

    doc = documents_of(copied)[3]
    for number, year in enumerate((1999, 2001, 2001)):
        row = {"_id": doc.doc_id, "title": doc.title, "text": doc.text, "year": year}
        (tmp_path / "fields.jsonl").write_text(json.dumps(row) + "\n")
        result = acclimate.open(copied).update(tmp_path / "fields.jsonl")
        assert result.changes == {"came": 0, "changed": int(number < 2), "went": 0}
        assert open_latest(copied)[0].input.documents.fields_of(doc.doc_id) == {"year": year}


def test_files_of_documents_are_named_by_all_that_they_hold(tmp_path):
    """Also fields of documents that an update leaves alone: a service takes files of one name for the same."""
    documents, names = Corpus.build([Doc("a", "lava"), Doc("b", "ash")], tmp_path / "corpus.arrow"), []
    for doc, year in [(Doc("a", "lava"), 1), (Doc("b", "ash"), 1), (Doc("a", "lava"), 2), (Doc("a", "lava"), 1)]:
        new = Corpus.of(Located([(Place(tmp_path), doc, {"year": year})]))
        reads = Input("", "", NOTHING, tmp_path, kept=CorpusFiles(documents.path.name, documents.path.name))
        reads.__dict__["collection"] = Collection("", documents, [], {})
        now: Any = SimpleNamespace(input=reads, source="", collection_name="docs")
        documents, _, _ = _corpora(now, Changes(documents, new))
        names.append(documents.path.name)
    assert len({*names}) == 4


def test_only_what_is_new_is_read(copied, tmp_path, monkeypatch):
    from acclimate.corpus.analyzer import Analyzer
    from acclimate.search.encoder import Encoder

    run = acclimate.open(copied)
    run.update(write_corpus(tmp_path / "first.jsonl", CAME[:1]))
    counted, encoded = [], []
    analyze, read = Analyzer.__call__, Encoder.read_batch
    monkeypatch.setattr(Analyzer, "__call__", lambda self, text: counted.append(text) or analyze(self, text))
    monkeypatch.setattr(
        Encoder,
        "read_batch",
        lambda self, texts, task, finish=lambda tokens: (tokens,): (
            encoded.extend([task] * len(texts)) or read(self, texts, task, finish)
        ),
    )
    run.update(write_corpus(tmp_path / "second.jsonl", CAME[1:]))
    assert {doc.default_text() for doc in documents_of(copied)} & {*counted} == {CAME[1].default_text()}
    assert encoded.count("document") == 1


def test_what_did_not_change_costs_nothing(copied, tmp_path, capsys):
    old = documents_of(copied)
    path = write_corpus(tmp_path / "new.jsonl", old[:9])
    assert main(["update", str(copied), str(path)]) == 0
    assert capsys.readouterr().out == "No changes: 40 documents.\n"
    assert not (copied / "updated" / "manifest.json").exists()


def test_a_dry_run_lists_what_would_come_change_and_go_and_writes_nothing(copied, tmp_path, capsys):
    docs = documents_of(copied)
    many = [Doc(f"new\n{number:02}", "lava") for number in range(12)]  # ids with line ends
    into = write_corpus(tmp_path / "now.jsonl", [docs[0]._replace(title="Another"), *docs[2:], *many])
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    assert main(["update", str(copied), str(into), "--all", "--dry-run"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{len(docs)} documents: added 12 · changed 1 · removed 1. Nothing was updated."
    assert [line.split() for line in printed[1:]] == [
        *(["added", "new", f"{number:02}"] for number in range(10)),
        ["added", "...", "and", "2", "more"],
        ["changed", docs[0].doc_id],
        ["removed", docs[1].doc_id],
    ]
    for n_given, is_said in ((40, False), (21, True), (20, False)):
        write_corpus(into, docs[:n_given])
        assert main(["update", str(copied), str(into), "--dry-run"]) == 0
        assert ("19 documents not given, kept; to remove such: --all" in capsys.readouterr().err) == is_said
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


def test_what_came_and_went_is_in_the_report_and_what_was_measured_stays(copied, tmp_path, capsys):
    before = json.loads((copied / "report.json").read_text())
    path = write_corpus(tmp_path / "new.jsonl", CAME)
    assert main(["update", str(copied), str(path)]) == 0
    assert "42 documents: added 2 · changed 0 · removed 0" in capsys.readouterr().out
    after = json.loads((copied / "report.json").read_text())
    assert after["systems"] == before["systems"]
    assert after["corpus"] == before["corpus"]
    assert any("2 documents were added, 0 changed and 0 removed" in warning for warning in after["warnings"])
    assert LastUpdate(copied, {"since": {"came": 0, "changed": 0, "went": 0}, "drifted": []}).warnings == []
    assert undocumented(copied) == set()
    assert main(["search", str(copied), "zircon", "--system", "bm25"]) == 0
    assert "zircon" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, SettingError, "nothing to update; expected documents, or ids to remove with --remove"),
        ({"all": True}, SettingError, "nothing to update"),
        ({"remove": "d01\nd033\n"}, DataError, r"gone.txt:2: no document 'd033' in this run. Did you mean 'd33'\?"),
        ({"remove": "\n"}, DataError, "gone.txt: no ids; expected the ids of documents"),
        ({"newdocs": "nowhere.jsonl"}, DataError, "no such file or folder"),
        ({"newdocs": '{"_id": "a", "txt": 1}\n'}, DataError, "text"),
    ],
)
def test_mistakes_are_told_and_change_nothing(finished, tmp_path, arguments, error, message):
    given = dict(arguments)
    for name, file in (("remove", "gone.txt"), ("newdocs", "docs.jsonl")):
        if given.get(name, "").endswith("\n"):
            (tmp_path / file).write_text(given[name])
            given[name] = tmp_path / file
    with pytest.raises(error, match=message):
        acclimate.open(finished).update(**given)
    assert not (finished / "updated" / "manifest.json").exists()


def test_an_id_to_remove_is_a_line_as_it_is_or_without_blanks_around_it(tmp_path):
    (tmp_path / "gone.txt").write_bytes("\ufeffa b\r\n edge \n\n c\t\n".encode())
    documents: Any = dict.fromkeys(("a b", " edge ", "c", "d"))
    assert read_ids(tmp_path / "gone.txt", documents) == {"a b", " edge ", "c"}


def test_some_documents_stay_and_the_file_that_removes_all_is_named(finished, tmp_path):
    (tmp_path / "gone.txt").write_text("\n".join(doc.doc_id for doc in documents_of(finished)))
    with pytest.raises(DataError, match=r"gone.txt: removes all \d+ documents of the run; expected some to stay"):
        acclimate.open(finished).update(remove=tmp_path / "gone.txt")
    assert not (finished / "updated" / "manifest.json").exists()


def test_a_document_cannot_come_and_go(finished, tmp_path):
    old = documents_of(finished)
    (tmp_path / "gone.txt").write_text(old[0].doc_id)
    path = write_corpus(tmp_path / "new.jsonl", [old[0]._replace(text="Other.")])
    with pytest.raises(AcclimateError, match="is both added and removed"):
        acclimate.open(finished).update(path, remove=tmp_path / "gone.txt")


@pytest.mark.parametrize(
    "at", ["indexes.joined", "update.LastUpdate.write", "update._remove_old", "update.assemble.write"]
)
def test_a_kill_leaves_the_old_or_the_new(copied, tmp_path, at):
    """The process ends without a word where `at` begins; the next one gets the documents in another order."""
    old = documents_of(copied)
    path = write_corpus(tmp_path / "new.jsonl", [*old, *CAME])
    before = acclimate.open(copied)(QUERIES, system="dense")
    child = os.fork()
    if not child:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"acclimate.deploy.updating.{at}", lambda *_, **__: os._exit(9))
            acclimate.open(copied).update(path, all=True, progress=None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    hits = acclimate.open(copied)(QUERIES, system="dense")
    if at in ("update._remove_old", "update.assemble.write"):
        assert "zircon" in {hit.doc_id for hit in hits}
    else:
        assert hits == before
    run = acclimate.open(copied)
    run.update(write_corpus(tmp_path / "new.jsonl", [*old[::-1], *CAME]), all=True, progress=None)
    assert "zircon" in {hit.doc_id for hit in run(QUERIES, system="dense")}
    assert [hit.doc_id for hit in run({"1": old[0].text, "2": old[-1].text}, k=1, system="bm25")] == [
        old[0].doc_id,
        old[-1].doc_id,
    ]
    assert any("2 documents were added" in warning for warning in run.report["warnings"])
    left = {entry.name for entry in (copied / "updated").iterdir()}
    assert len(left) == 2  # the newest, and the file that says so
    assert not list((copied / "updated").rglob("*.part"))


def test_counts_give_the_scores_that_bm25s_computes_to_the_bit():
    texts = ["lava and ash ash", "", "ash", "curds curds of cheese", "Glaciers!", "ash lava curds the"]
    analyzer = BM25.build(texts).analyzer
    counts = TermCounts.of(texts[:4], analyzer).concat(TermCounts.of(texts[4:], analyzer))
    for rows in ([0, 1, 2, 3, 4, 5], [5, 0, 3], [1]):
        left = [texts[row] for row in rows]
        for k1, b in ((0.9, 0.4), (0.0, 0.0), (2.0, 1.0)):
            anew = BM25.build(left, k1=k1, b=b)
            ours = counts.select(np.array(rows)).bm25(analyzer, k1=k1, b=b)
            for query in ("ash", "lava curds ash", "cheese", "none of them"):
                assert ours.scores(query).tobytes() == anew.scores(query).tobytes()


def test_passages_of_what_changed_take_the_places_of_those_before(tmp_path):
    docs = [Doc("a", "one two three four five six"), Doc("b", "one two"), Doc("c", "x y z. u v w. r s t.")]
    now = Corpus.build(docs, tmp_path / "now.arrow")
    split = passages(now, tmp_path, words=3, overlap=1)

    parents = {doc_id: doc_id.partition("#")[0] for doc_id in split if "#" in doc_id}
    reads = SimpleNamespace(corpus=split, passage_words=3, passage_overlap=1, parents=parents)
    changes = Changes(now, {"b": Doc("b", "now it is long enough"), "d": Doc("d", "short")}, frozenset({"a"}))
    documents = Corpus.build(changes.documents(), tmp_path / "new.arrow")
    rows = Rows(changes, reads)  # pyright: ignore[reportArgumentType]
    units = list(rows.units(documents))
    assert units == list(passages(documents, tmp_path, words=3, overlap=1).values())
    both = [*split.values(), *(unit for unit in units if unit.doc_id in rows.fresh)]
    assert [both[row] for row in rows.rows] == units
    assert {doc_id.partition("#")[0] for doc_id in rows.fresh} == {"b", "d"}


def test_stages_that_were_made_again_make_an_update_void(copied, tmp_path, caplog):
    from acclimate.stages.runs import open_latest, open_run

    acclimate.open(copied).update(write_corpus(tmp_path / "new.jsonl", CAME))
    path = copied / "updated" / "manifest.json"
    facts = json.loads(path.read_text())
    void = {**facts, "made_of": {**facts["made_of"], "index": "another"}}
    before = {**facts["kept"], "documents": open_run(copied, "evaluate")[0].input.documents.path.name}
    caplog.set_level("INFO", "acclimate")
    for kept, said in ((facts["kept"], 1), (before, 0)):  # 0: the stages were made of the update's documents
        path.write_text(json.dumps({**void, "kept": kept}))
        caplog.clear()
        assert open_latest(copied)[0].updated_folder is None
        assert caplog.text.count(command("update", copied, "NEWDOCS")) == said
    path.write_text(json.dumps({**facts, "files": {"bm25/vocab.index.json": {"sha256": "", "bytes": 1}}}))
    with pytest.raises(DataError, match="not as the update made it; remove"):
        open_latest(copied)
