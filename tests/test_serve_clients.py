"""Clients that are slow, many, too large or gone: they get a clear answer or a closed connection, and others theirs."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import socket
import threading
import time

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from served import served

from acclimate.deploy.serving import server
from acclimate.deploy.serving.guard import Guard
from acclimate.deploy.serving.limits import Limits
from acclimate.deploy.serving.metrics import Metrics

HEAD = b"POST /search HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"

HEADS = HEAD, HEAD.replace(b"localhost", b"elsewhere")  # the second is refused before its body is read


@pytest.fixture(scope="module")
def site(finished, tmp_path_factory):
    copy = tmp_path_factory.mktemp("clients") / "run"
    shutil.copytree(finished, copy)
    limits = Limits(read_seconds=0.4, idle_seconds=0.4, max_connections=20, max_body_bytes=10_000)
    with served(copy, limits, hosts=["localhost", "127.0.0.1"]) as running:
        yield running


def connected(site):
    return socket.create_connection(("127.0.0.1", site.port), timeout=20)


def answer(connection) -> tuple[int, bytes]:
    """Status and body of all that comes until the connection is closed."""
    content = b""
    while part := connection.recv(65536):
        content += part
    head, _, body = content.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


def ask(site, query="lava"):
    client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    client.request("POST", "/search", json.dumps({"query": query}), {"content-type": "application/json"})
    reply = client.getresponse()
    content = json.loads(reply.read())
    client.close()
    return reply.status, content


def test_a_head_that_does_not_come_is_not_waited_for(site):
    for begun in (b"", b"GET /search?q=lava HTTP/1.1\r\nx-slow: "):
        with connected(site) as slow:
            slow.sendall(begun)
            assert ask(site)[0] == 200  # others are answered meanwhile
            assert answer(slow)[0] in (0, 400)


def test_a_body_that_does_not_come_is_not_waited_for(site):
    with connected(site) as slow:
        slow.sendall(HEAD + b'content-length: 100\r\n\r\n{"que')
        status, body = answer(slow)
    assert status == 408
    assert b"did not arrive within 0.4 seconds" in body


def test_bodies_that_do_not_come_take_no_place_of_those_that_do(site, monkeypatch):
    monkeypatch.setattr(site.service, "limits", Limits(max_requests=1))
    with connected(site) as slow:
        slow.sendall(HEAD + b'content-length: 100\r\n\r\n{"que')
        time.sleep(0.05)
        assert ask(site)[0] == 200


async def large_app(scope, receive, send):
    """Answers with more than the buffers of a connection hold."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(1 << 25)})


def test_an_answer_that_nobody_reads_is_not_kept():
    listener = server.bound("127.0.0.1", 0)
    uvicorn = server.server(large_app, Limits(request_seconds=0.2, stop_seconds=1))
    thread = threading.Thread(target=lambda: asyncio.run(uvicorn.serve(sockets=[listener])), daemon=True)
    thread.start()
    while not uvicorn.started:
        time.sleep(0.01)
    with socket.create_connection(listener.getsockname(), timeout=20) as deaf:
        deaf.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        deaf.recv(1)  # it has begun
        assert uvicorn.server_state.connections
        deadline = time.monotonic() + 10
        while uvicorn.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not uvicorn.server_state.connections
    uvicorn.should_exit = True
    thread.join(20)
    listener.close()


def test_a_body_of_ten_megabytes_gets_an_answer(site):
    with connected(site) as large:
        large.sendall(HEAD + b"content-length: 10000000\r\n\r\n" + b"x" * 10_000_000)
        status, body = answer(large)
    assert (status, json.loads(body)) == (413, {"error": "the body has more than 10,000 bytes"})


def test_a_client_that_goes_away_takes_nothing_with_it(site):
    body = json.dumps({"query": "lava"}).encode()
    for cut in (10, len(body)):
        with connected(site) as gone:
            gone.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body[:cut])
    assert ask(site)[0] == 200


@pytest.mark.parametrize(
    "begun",
    [b"\x16\x03\x01 hello\r\n\r\n", *(head + b"transfer-encoding: chunked\r\n\r\nno length\r\n" for head in HEADS)],
)
def test_what_is_no_http_is_refused_without_a_word_in_the_log(site, begun, caplog):
    with connected(site) as strange:
        strange.sendall(begun)
        assert answer(strange)[0] in (0, 400)
    assert ask(site)[0] == 200
    assert caplog.records == []


def test_beyond_the_limit_connections_are_turned_away(site):
    connections = [connected(site) for _ in range(20)]
    time.sleep(0.05)
    with connected(site) as late:
        status, body = answer(late)
    for connection in connections:
        connection.close()
    assert (status, json.loads(body)) == (503, {"error": "too many connections are open; come again"})
    time.sleep(0.1)
    assert ask(site)[0] == 200


def test_requests_at_work_are_answered_before_it_stops(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    with served(tmp_path / "run") as site:
        work, begun = site.service.worker.run.hits, threading.Event()

        def slowly(*arguments):
            begun.set()
            time.sleep(0.3)
            return work(*arguments)

        site.service.worker.run.hits = slowly
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(ask(site)[0])) for _ in range(4)]
        for thread in threads:
            thread.start()
        begun.wait(10)
        while len(site.uvicorn.server_state.tasks) < 4:
            time.sleep(0.01)
        site.stop()
        for thread in threads:
            thread.join()
        assert answers == [200] * 4
        with pytest.raises(ConnectionRefusedError):
            ask(site)


def test_what_was_answered_or_failed_makes_room_for_the_next_request():
    statuses = []

    async def fails_at_times(scope, receive, send):
        if len(statuses) % 2:
            raise RuntimeError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    guard = Guard(
        fails_at_times,
        limits=Limits(max_requests=1),
        metrics=Metrics(),
        paths=[],
        open_paths=[],
        api_key=None,
        hosts=[],
    )
    for _ in range(4):
        asyncio.run(guard({"type": "http", "path": "/x", "headers": [], "method": "GET"}, receive, send))
    assert statuses == [200, 500, 200, 500]
