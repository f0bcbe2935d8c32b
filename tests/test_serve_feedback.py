"""Feedback: kept as it comes, and what it comes to as judgments that measure the next run."""

from __future__ import annotations

import json
import sqlite3

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from chain import FAST, fake_answers, report_of
from starlette.testclient import TestClient

import acclimate
from acclimate.base.testing import QRELS, QUERIES
from acclimate.cli.main import main
from acclimate.deploy.serving.app import create_app
from acclimate.deploy.serving.feedback import FILE, Click, Feedback, Grade, Preference
from acclimate.deploy.serving.limits import Limits
from acclimate.deploy.serving.service import Service


@pytest.fixture
def client(copied):
    service = Service(copied, None, Limits())
    with TestClient(create_app(service, reload_seconds=0)) as client:
        yield client


def test_what_is_said_is_on_disk_when_it_is_answered(client, copied):
    assert not (copied / FILE).exists()
    preference = {"kind": "preference", "query": "lava", "left": "bm25", "right": "dense", "preference": "left"}
    grade = {"kind": "grade", "query": "lava", "doc_id": QRELS[0].doc_id, "grade": 3}
    click = {"kind": "click", "query": "lava", "doc_id": QRELS[0].doc_id, "system": "bm25", "rank": 2}
    for given in (preference | {"blind": True, "seed": 7}, grade, grade | {"grade": 1}, click):
        assert client.post("/feedback", json=given).json() == {"kept": 1}
    other = Feedback(copied)  # as another process sees it
    assert other.preferences() == [Preference("lava", "bm25", "dense", "left", True, 7)]
    assert other.grades() == [Grade("lava", QRELS[0].doc_id, 1)]  # the last word counts, and the first is kept
    assert other.clicks() == [Click("lava", QRELS[0].doc_id, "bm25", 2)]
    other.close()
    assert client.get("/feedback", params={"query": "lava"}).json() == {QRELS[0].doc_id: 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "grade", "query": "lava", "doc_id": "nothing", "grade": 1}, "no document has the id 'nothing'"),
        ({"kind": "grade", "query": "lava", "doc_id": "nothing", "grade": 4}, "less than or equal to 3"),
        ({"kind": "click", "query": " ", "doc_id": "nothing", "system": "bm25", "rank": 1}, "the query is empty"),
        ({"kind": "guess", "query": "lava"}, "kind"),
        ({"query": "lava"}, "body.kind: Field required"),
    ],
)
def test_feedback_of_what_is_not_there_is_refused(client, copied, given, message):
    answer = client.post("/feedback", json=given)
    assert answer.status_code == 422
    assert message in answer.json()["error"]
    assert not (copied / FILE).exists()


def test_a_file_that_cannot_be_used_is_said_and_search_goes_on(client, copied):
    (copied / FILE).write_bytes(b"no database " * 100)
    answer = client.post("/feedback", json={"kind": "grade", "query": "lava", "doc_id": QRELS[0].doc_id, "grade": 1})
    assert answer.status_code == 503
    assert FILE in answer.json()["error"]
    assert client.get("/search", params={"q": "lava"}).status_code == 200


def test_feedback_goes_to_the_file_that_is_there_whatever_became_of_the_one_before(client, copied):
    grade = {"kind": "grade", "query": "lava", "doc_id": QRELS[0].doc_id, "grade": 1}
    assert client.post("/feedback", json=grade).status_code == 200
    (copied / FILE).rename(copied / "earlier.sqlite")
    assert client.get("/feedback", params={"query": "lava"}).json() == {}
    assert client.post("/feedback", json=grade | {"grade": 2}).status_code == 200
    assert client.get("/feedback", params={"query": "lava"}).json() == {QRELS[0].doc_id: 2}
    (copied / FILE).write_bytes(b"no database " * 100)
    answer = client.post("/feedback", json=grade)
    assert answer.status_code == 503
    assert "if it is damaged, move it away, and a new one is made" in answer.json()["error"]
    (copied / FILE).unlink()
    (copied / FILE).mkdir()  # which may be opened as little as a file in a folder that may only be read
    answer = client.post("/feedback", json=grade)
    assert answer.status_code == 503
    assert "change its permissions and its folder's" in answer.json()["error"]
    (copied / FILE).rmdir()
    (copied / "earlier.sqlite").replace(copied / FILE)
    assert client.get("/feedback", params={"query": "lava"}).json() == {QRELS[0].doc_id: 1}


def test_queries_come_one_after_the_other_until_all_are_graded(client):
    seen = []
    while (task := client.get("/judge").json())["query"] is not None:
        seen.append(task["query"])
        assert task["graded"] == len(seen) - 1
        assert 10 <= len(task["hits"]) <= 20
        skipped = client.get("/judge", params={"after": task["query"]}).json()
        assert skipped["query"] != task["query"]
        given = {"query": task["query"], "grades": {hit["doc_id"]: 0 for hit in task["hits"]}}
        assert client.post("/judge", json=given).json() == {"kept": len(task["hits"])}
    assert len({*seen}) == len(seen) == task["queries"] > 1


def test_the_next_run_is_measured_by_what_people_graded(copied, corpus, run_adapt, tmp_path, capsys):
    """The whole way: asked and graded over HTTP, exported, given to adapt."""
    texts = {query.query_id: query.text for query in QUERIES}
    with TestClient(create_app(Service(copied, None, Limits()), reload_seconds=0)) as client:
        for qrel in QRELS:
            hits = client.get("/search", params={"q": texts[qrel.query_id], "k": 3}).json()["hits"]
            grades = {hit["doc_id"]: 0 for hit in hits} | {qrel.doc_id: 2}
            client.post("/judge", json={"query": texts[qrel.query_id], "grades": grades})
        client.post("/judge", json={"query": "nothing answers this", "grades": {QRELS[0].doc_id: 0}})
    out = tmp_path / "graded"
    assert main(["feedback", str(copied), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"{len(QUERIES)} queries with" in printed
    assert "1 query omitted: none of their documents was graded above 0" in printed
    options = ("--queries", str(out / "queries.jsonl"), "--qrels", str(out / "qrels" / "test.tsv"))
    with fake_answers():
        assert run_adapt(corpus, copied, *options, changes=FAST) == 0
    report = report_of(copied)
    assert report["verdict_basis"] == "qrels"
    rows = [json.loads(line) for line in (out / "queries.jsonl").read_text().splitlines()]
    assert {row["text"] for row in rows} == {*texts.values()}


def test_what_was_graded_before_and_after_an_update_is_what_adapt_takes_with_the_documents_of_today(
    copied, corpus, run_adapt, tmp_path, capsys
):
    """Documents that were graded go, and documents that came are graded."""
    (kept, gone), run = (QRELS[0], QRELS[1]), acclimate.open(copied)
    store = Feedback(copied)
    for qrel in (kept, gone):
        store.grade([Grade(f"query {qrel.query_id}", qrel.doc_id, 3)])
    store.grade([Grade(f"query {kept.query_id}", gone.doc_id, 1)])
    assert run.feedback(tmp_path / "before")[-2:] == (0, 0)
    lines = corpus.read_text().splitlines(keepends=True)
    today = tmp_path / "today.jsonl"
    came = json.dumps({"_id": "came", "title": "", "text": f"{kept.query_id} is answered by what came today."}) + "\n"
    today.write_text("".join(line for line in lines if json.loads(line)["_id"] != gone.doc_id) + came)
    run.update(today, all=True)
    store.grade([Grade("query of today", "came", 2)])
    store.close()
    out = tmp_path / "graded"
    assert main(["feedback", str(copied), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "2 queries with 2 judgments" in printed
    assert "2 judgments omitted: their documents are no longer in the run" in printed
    assert "1 judgment is of documents added by an update: adapt to the current documents" in printed
    options = ("--queries", str(out / "queries.jsonl"), "--qrels", str(out / "qrels" / "test.tsv"))
    with fake_answers():
        assert run_adapt(today, tmp_path / "run-of-today", *options, changes=FAST) == 0
    assert report_of(tmp_path / "run-of-today")["verdict_basis"] == "qrels"


def test_an_export_replaces_an_export_and_nothing_else(copied, tmp_path):
    run = acclimate.open(copied)
    with pytest.raises(acclimate.DataError, match="no feedback yet; collect some with: acclimate serve"):
        run.feedback(tmp_path / "out")
    store = Feedback(copied)
    store.grade([Grade("lava", QRELS[0].doc_id, 3)])
    store.prefer(Preference("lava", "bm25", "dense", "same", False, 0))
    store.close()
    for _ in range(2):
        exported = run.feedback(tmp_path / "out")
        assert (exported.queries, exported.judgments, exported.preferred) == (1, 1, {"same": 1})
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(acclimate.DataError, match="holds something else"):
        run.feedback(tmp_path / "out")


def test_a_file_of_a_later_version_is_left_alone(copied):
    connection = sqlite3.connect(copied / FILE)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(acclimate.DataError, match="is of version 9; expected 1"):
        Feedback(copied).grade([Grade("lava", "d", 1)])


@pytest.mark.parametrize(("side", "system"), [("left", "bm25"), ("right", "dense"), ("same", "same")])
def test_the_system_on_the_side_that_was_preferred_is_the_preferred_one(side, system):
    assert Preference("lava", "bm25", "dense", side, True, 7).preferred == system
