"""A service from its command on: how it begins, takes up what was made anew, and ends."""

from __future__ import annotations

import shutil
import socket

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from starlette.testclient import TestClient

from acclimate.api import serve
from acclimate.base.testing import QUERIES
from acclimate.cli.main import main
from acclimate.deploy.serving import service as service_module
from acclimate.deploy.serving import worker
from acclimate.deploy.serving.limits import Limits
from acclimate.deploy.serving.service import Service


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    """A run that may be written to."""
    copy = tmp_path_factory.mktemp("served") / "run"
    shutil.copytree(finished, copy)
    return copy


# The run changes, the service ends


def again(folder):
    """The run, made anew: the same stages, with other weights for its hybrids."""
    import json

    chosen = folder / "evaluate" / "measured.json"
    measured = json.loads(chosen.read_text())
    measured["recommended"] = "bm25" if measured["recommended"] != "bm25" else "dense"
    return chosen, json.dumps(measured, indent=2, sort_keys=True) + "\n"


def remake(folder, path, content):
    """Put a file of a stage in the place of another, as the stage would."""
    import hashlib
    import json

    path.write_text(content)
    manifest = path.parent / "manifest.json"
    told = json.loads(manifest.read_text())
    output = told["outputs"][path.name]
    output.update(bytes=len(content.encode()), sha256=hashlib.sha256(content.encode()).hexdigest())
    manifest.write_text(json.dumps(told, indent=2, sort_keys=True))


def test_a_run_that_is_made_anew_is_served_once_it_is_at_rest(copied):
    service = Service(copied, None, Limits())
    try:
        before = service.health()
        assert service.reloading.check() is None
        remake(copied, *again(copied))
        assert service.reloading.check() is None  # it may be changing still
        asked = [service.worker.ask(worker.Question(query.text, ("hybrid",), 3)) for query in QUERIES]
        assert service.reloading.check() == "swapped"
        assert all(answer.result(10).hits["hybrid"] for answer in asked)
        assert service.health().system != before.system
        assert service.health().run != before.run
        assert service.reloading.check() is None
        assert service.worker.ask(worker.Question("lava", (service.health().system,), 3)).result(10).hits
    finally:
        service.close()


def test_a_run_that_changes_while_it_is_loaded_is_loaded_again(tmp_path, monkeypatch):
    manifest = tmp_path / "evaluate" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text("")

    class Run:
        def __init__(self, folder, system):
            self.fingerprint = self.system = manifest.read_text()

        def warm(self):
            manifest.write_text(f"{self.fingerprint}.")

    monkeypatch.setattr(service_module, "LoadedRun", Run)
    service = Service(tmp_path, None, Limits())
    assert [service.reloading.check() for _ in range(2)] == [None, "swapped"]
    assert service.run.fingerprint == "."
    service.close()


def test_a_damaged_run_leaves_the_old_one_in_its_place_and_says_so(copied):
    service = Service(copied, None, Limits())
    try:
        before = service.health()
        path, content = again(copied)
        path.write_text(content[:100])
        (copied / "evaluate" / "manifest.json").touch()
        assert [service.reloading.check() for _ in range(3)] == [None, "failed", None]
        after = service.health()
        assert "measured.json" in after.problem
        assert after.model_copy(update={"problem": None}) == before
        assert service.worker.ask(worker.Question("lava", (before.system,), 3)).result(10).hits
        remake(copied, path, content)
        assert [service.reloading.check() for _ in range(2)] == [None, "swapped"]
        assert service.health().problem is None
    finally:
        service.close()


def test_what_was_asked_is_answered_before_it_closes(copied):
    service = Service(copied, None, Limits())
    answers = [service.worker.ask(worker.Question(query.text, ("hybrid",), 3)) for query in QUERIES]
    service.close()
    assert all(answer.done() and answer.result().hits["hybrid"] for answer in answers)


# The command


@pytest.fixture
def started(monkeypatch):
    """What the command would serve: (app, address, limits)."""
    from acclimate.deploy.serving import server

    calls = []
    monkeypatch.setattr(
        server, "run", lambda app, listener, limits: calls.append((app, listener.getsockname(), limits))
    )
    monkeypatch.delenv("ACCLIMATE_API_KEY", raising=False)
    return calls


def test_the_command_serves_on_this_machine_alone(started, folder, capsys):
    assert main(["serve", str(folder), "--port", "0", "--max-k", "7", "--system", "bm25"]) == 0
    ((app, (host, port, *_), limits),) = started
    assert (host, limits.max_k) == ("127.0.0.1", 7)
    shown = capsys.readouterr()
    assert f"serve: running on http://127.0.0.1:{port};" in shown.err
    assert shown.out == ""
    client = TestClient(app, base_url="http://localhost")
    assert client.get("/health").json()["system"] == "bm25"
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 421


def test_the_command_warns_of_what_others_can_reach_without_a_key(started, folder, capsys, monkeypatch):
    monkeypatch.setattr(serve, "_is_local", lambda address: False)  # tests reach nothing but this machine
    command = ["serve", str(folder), "--port", "0"]
    assert main(command) == 0
    assert "without a key anyone can read the documents" in capsys.readouterr().err
    monkeypatch.setenv("ACCLIMATE_API_KEY", "secret\n")  # as a file gives it
    assert main([*command, "--allow-host", "::1", "--allow-host", "testserver"]) == 0
    shown = capsys.readouterr().err
    assert "is reachable from other machines" in shown
    assert "secret" not in shown
    client = TestClient(started[-1][0])
    assert client.get("/search?q=lava").status_code == 401
    assert client.get("/search?q=lava", headers={"authorization": "Bearer secret"}).status_code == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "70000"], "--port is 70000; expected a whole number: 0 to 65,535"),
        (["--api-key", " "], "the key (--api-key, or ACCLIMATE_API_KEY) is empty"),
        (["--api-key", "a\nb"], "the key (--api-key, or ACCLIMATE_API_KEY) has a line end in it"),
        *(
            (
                ["--allow-host", name, "--port", "0"],
                f"allowed host is {name!r}; expected a name without scheme and port",
            )
            for name in ("http://search.example.org", "search.example.org:80", "*.example.org", "[::1]", "")
        ),
        (["--system", "hybird", "--port", "0"], "Did you mean 'hybrid'?"),
        (["--host", "127.0.0.1.5"], "cannot listen on"),
        (["--max-k", "0"], "--max-k is 0"),
        (["--reload-seconds", "none"], "--reload-seconds is 'none'; expected a number"),
        (["--request-seconds", "0"], "request_seconds is 0"),
    ],
)
def test_a_mistake_is_one_line(started, folder, capsys, options, message):
    assert main(["serve", str(folder), *options]) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert message in shown[-1]
    assert started == []


def test_a_port_that_is_taken_and_a_run_that_is_none_are_said(started, folder, capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(folder), "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another" in capsys.readouterr().err
    assert main(["serve", str(tmp_path)]) == 2
    assert "no run here" in capsys.readouterr().err
