"""A run over HTTP: what is found, what is refused and how, and that what comes back is what the run itself says."""

from __future__ import annotations

import json
import shutil
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from starlette.testclient import TestClient

import acclimate
from acclimate.base.testing import DOCS, QUERIES
from acclimate.deploy.serving import worker
from acclimate.deploy.serving.app import create_app
from acclimate.deploy.serving.guard import Guard
from acclimate.deploy.serving.limits import Limits
from acclimate.deploy.serving.service import Service


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    """A run that may be written to."""
    copy = tmp_path_factory.mktemp("served") / "run"
    shutil.copytree(finished, copy)
    return copy


@pytest.fixture(scope="module")
def service(folder):
    service = Service(folder, None, Limits(max_query_chars=200, max_k=20, max_body_bytes=4000))
    yield service
    service.close()


@pytest.fixture
def client(service):
    return TestClient(create_app(service, reload_seconds=0))  # not entered, so the service outlives it


def test_what_is_found_is_what_the_run_finds(client, finished):
    run = acclimate.open(finished)
    for query in QUERIES[:3]:
        answer = client.post("/search", json={"query": query.text, "k": 3}).json()
        hits = run.search(query.text, k=3)
        assert [hit["doc_id"] for hit in answer["hits"]] == [hit.document_id for hit in hits]
        assert [hit["score"] for hit in answer["hits"]] == [hit.score for hit in hits]
        assert answer["hits"][0]["members"] == dict(hits[0].members)
        assert client.get("/search", params={"q": query.text, "k": 3}).json() == answer


def test_what_a_query_gets_does_not_depend_on_its_company(service, client):
    alone = [client.get("/search", params={"q": query.text}).json() for query in QUERIES[:8]]
    gate, work = threading.Event(), service.worker.run.hits

    def waiting(*arguments):
        gate.wait(10)
        return work(*arguments)

    sizes = []
    service.worker._on_batch, counted = sizes.append, service.worker._on_batch
    service.worker.run.hits = waiting
    answers = {}
    threads = [
        threading.Thread(
            target=lambda query=query: answers.update(
                {query.text: client.get("/search", params={"q": query.text}).json()}
            )
        )
        for query in QUERIES[:8]
    ]
    try:
        service.worker.ask(worker.Question("lava", ("bm25",), 1))
        while service.worker.n_waiting:  # until it is at work
            time.sleep(0.01)
        for thread in threads:
            thread.start()
        while service.worker.n_waiting < 8:
            time.sleep(0.01)
        gate.set()
        for thread in threads:
            thread.join()
    finally:
        del service.worker.run.hits
        service.worker._on_batch = counted
    assert max(sizes) == 8
    assert [answers[query.text] for query in QUERIES[:8]] == alone


def test_reranked_questions_are_answered_a_few_at_a_time_and_none_that_nobody_waits_for():
    begun, gate, asked = threading.Event(), threading.Event(), []

    def hits(texts, k, system, filters):
        begun.set()
        gate.wait(10)
        asked.append(list(texts))
        return [[] for _ in texts]

    run: Any = SimpleNamespace(hits=hits)
    searches = worker.Worker(run)
    first = searches.ask(worker.Question("first", ("bm25",), 1))
    begun.wait(10)
    answers = [searches.ask(worker.Question(f"{number}", ("hybrid+reranker",), 1)) for number in range(10)]
    assert answers[1].cancel()
    gate.set()
    assert [answer.result(10) for answer in (first, answers[0], *answers[2:])]
    searches.close()
    assert asked == [["first"], ["0", "2", "3"], ["4", "5", "6", "7"], ["8", "9"]]


def test_a_service_ends_though_a_question_takes_longer_than_anybody_waits(monkeypatch):
    monkeypatch.setattr(worker, "_CLOSING_SECONDS", 0.05)
    gate = threading.Event()
    run: Any = SimpleNamespace(hits=lambda *_: gate.wait(10))
    searches = worker.Worker(run)
    answer = searches.ask(worker.Question("long", ("bm25",), 1))
    searches.close()
    assert not answer.done()
    gate.set()


def test_a_question_that_fails_fails_alone(service):
    questions = [worker.Question("lava", ("bm25",), 3), worker.Question("lava", ("nothing",), 3)]
    good, bad = map(service.worker.ask, questions)
    assert good.result(10).hits["bm25"]
    with pytest.raises(acclimate.SettingError, match="no system named 'nothing'"):
        bad.result(10)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"query": " "}, "the query is empty"),
        ({"query": "x" * 201}, "201 characters; at most 200"),
        ({"query": "lava", "k": 21}, "k is 21; expected 1 to 20"),
        ({"query": "lava", "k": 0}, "k"),
        ({"query": "lava", "k": True}, "k"),
        ({"query": "lava", "kk": 3}, "body.kk: no such field; /openapi.json lists all"),
        ({"query": "lava", "system": "hybird"}, "Did you mean 'hybrid'?"),
        ({"query": "lava", "filters": {"colour": "red"}}, "no field named 'colour'. There are: doc_id, title"),
        ({"query": "\ud800"}, "query"),
        ([], "body: expected a JSON object in UTF-8, and the header content-type: application/json"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(client, body, message):
    answer = client.post("/search", content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json().keys() == {"error"}
    assert message in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_form_of_a_strange_site_and_a_body_in_another_encoding_are_no_request(client):
    good, latin = b'{"query": "lava"}', '{"query": "caf\xe9"}'.encode("latin-1")
    for kind, body in (("text/plain", good), ("application/x-www-form-urlencoded", good), ("application/json", latin)):
        answer = client.post("/search", content=body, headers={"content-type": kind})
        assert answer.status_code == 422
        assert "expected a JSON object in UTF-8, and the header content-type: " in answer.json()["error"]
    assert "access-control-allow-origin" not in client.get("/health", headers={"origin": "http://evil.example"}).headers


def test_a_body_beyond_the_limit_is_refused_announced_or_not(client):
    assert client.post("/search", json={"query": "x" * 5000}).status_code == 413
    chunks = (b"x" * 1000 for _ in range(10))
    assert client.post("/search", content=chunks).status_code == 413


def test_filters_are_those_of_the_documents(client):
    first = client.get("/search", params={"q": "lava and ash", "k": 3, "system": "bm25"}).json()["hits"]
    wanted = first[-1]["doc_id"]
    for filters in ({"doc_id": wanted}, {"doc_id": [wanted, "nothing"]}, {"doc_id": {"prefix": wanted}}):
        answer = client.post("/search", json={"query": "lava and ash", "system": "bm25", "filters": filters}).json()
        assert answer["hits"][0]["doc_id"] == wanted
        assert all(hit["doc_id"].startswith(wanted) for hit in answer["hits"])
    by_url = client.get("/search", params={"q": "lava and ash", "system": "bm25", "where": f"doc_id={wanted}"}).json()
    assert [hit["doc_id"] for hit in by_url["hits"]] == [wanted]
    assert client.get("/search", params={"q": "lava", "where": "doc_id~x"}).status_code == 422


def test_a_filter_leaves_what_passes_in_the_place_of_what_does_not(client):
    """Whatever the system, as many documents are found as there are, and its best are the best of them."""
    ids = sorted(doc.doc_id for doc in DOCS)[::2]
    for system in ("bm25", "dense", "hybrid", "hybrid:tuned"):
        body = {"query": QUERIES[0].text, "system": system, "k": 10, "filters": {"doc_id": ids}}
        hits = client.post("/search", json=body).json()["hits"]
        assert {hit["doc_id"] for hit in hits} <= {*ids}
        assert len(hits) == 10 or system == "bm25"


def test_two_systems_side_by_side(client):
    body = {"query": "lava and ash", "systems": ["bm25", "dense"], "k": 4}
    answer = client.post("/compare", json=body).json()
    left, right = answer["left"], answer["right"]
    assert (left["system"], right["system"]) == ("bm25", "dense")
    ids = [hit["doc_id"] for hit in right["hits"]]
    for hit in left["hits"]:
        if hit["doc_id"] in ids:
            assert hit["other_rank"] == ids.index(hit["doc_id"]) + 1
        pieces = [*hit["marked_title"], *hit["marked_text"]]
        assert {text.casefold() for text, is_match in pieces if is_match} <= {"lava", "ash", "lavas"}
    assert answer["shared"] == len({hit["doc_id"] for hit in left["hits"]} & {*ids})
    assert client.post("/compare", json={"query": "x", "systems": ["bm25", "bm25"]}).status_code == 422


def test_sides_are_drawn_by_query_and_the_draw_is_the_same_again(client):
    def left(query, seed=0):
        body = {"query": query, "systems": ["bm25", "dense"], "k": 1, "blind": True, "seed": seed}
        return client.post("/compare", json=body).json()["left"]["system"]

    sides = [left(query.text) for query in QUERIES[:12]]
    assert {*sides} == {"bm25", "dense"}
    assert sides == [left(query.text) for query in QUERIES[:12]]
    assert sides != [left(query.text, seed=1) for query in QUERIES[:12]]


def test_a_document_is_never_part_of_the_page(client):
    answer = client.get("/search", params={"q": "volcano script alert", "k": 5})
    assert any("<script>" in hit["title"] for hit in answer.json()["hits"])  # as data
    assert answer.headers["content-type"] == "application/json"
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for headers in (page.headers, answer.headers):
        assert headers["x-content-type-options"] == "nosniff"
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_a_key_is_wanted_of_all_but_the_page_and_health(service):
    client = TestClient(create_app(service, api_key="sésame", reload_seconds=0))
    for path in ("/search?q=lava", "/metrics", "/judge", "/openapi.json"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"authorization": "Bearer wrong"}).status_code == 401
        for headers in ({b"authorization": "Bearer sésame".encode()}, {b"x-api-key": "sésame".encode()}):
            assert client.get(path, headers=headers).status_code == 200
    mounted = TestClient(client.app, root_path="/sub")
    for path in ("/", "/health", "/ready"):
        assert client.get(path).status_code == mounted.get(f"/sub{path}").status_code == 200
    assert mounted.get("/sub/metrics").status_code == 401 and '="/' not in client.get("/").text  # links hold, too


def test_names_of_other_hosts_are_refused(service):
    client = TestClient(create_app(service, hosts=["localhost", "::1"], reload_seconds=0))
    for host, status in (("localhost:8765", 200), ("[::1]:8765", 200), ("evil.example", 421), ("", 421)):
        assert client.get("/health", headers={"host": host}).status_code == status


def test_beyond_the_limit_requests_are_told_to_come_again(service):
    app = create_app(service, reload_seconds=0)
    assert isinstance(app, Guard)
    app.n_running = service.limits.max_requests
    client = TestClient(app)
    answer = client.get("/search", params={"q": "lava"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert client.get("/health").status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(service, monkeypatch):
    monkeypatch.setattr(service, "limits", Limits(request_seconds=0.05))
    monkeypatch.setattr(service.worker.run, "hits", lambda *_: time.sleep(0.3))
    answer = TestClient(create_app(service, reload_seconds=0)).get("/search", params={"q": "lava"})
    assert (answer.status_code, answer.headers["retry-after"]) == (504, "1")


def test_an_error_of_ours_says_nothing_of_the_inside(service, monkeypatch, caplog):
    monkeypatch.setattr(service.worker.run, "hits", lambda *_: {}["secret"])
    answer = TestClient(create_app(service, reload_seconds=0), raise_server_exceptions=False).get("/search?q=lava")
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal error; see the log of the service"}
    assert "secret" in caplog.text


def test_metrics_are_what_prometheus_reads(client):
    client.get("/search", params={"q": "lava"})
    client.get("/nowhere/else")
    lines = client.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values['acclimate_requests_total{path="/search",status="200"}']) >= 1
    assert float(values['acclimate_requests_total{path="other",status="404"}']) >= 1
    assert not any("nowhere" in line for line in lines)


def test_openapi_names_every_path(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/search", "/compare", "/feedback", "/judge", "/health", "/metrics"} <= paths.keys()


def test_without_the_packages_it_says_what_to_install(monkeypatch, finished):
    import sys

    for name in [name for name in sys.modules if name.startswith("acclimate.deploy.serving.") or name == "fastapi"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(acclimate.MissingExtra, match=r"pip install 'acclimate\[serve\]'"):
        acclimate.open(finished).asgi()
