"""A server that nobody runs is known before work begins, and stops nothing: it may start until it is needed."""

from __future__ import annotations

import socket

import pytest
from chain import SMALL

from acclimate.api.adapt import run_until
from acclimate.llm.server.reachable import why_unreachable
from acclimate.run.provided import Provided
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import resolve
from acclimate.stages import chain
from acclimate.stages.runs import new_run

pytest.importorskip("openai", reason="the openai extra is not installed")


@pytest.fixture
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


@pytest.fixture
def somebody():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@pytest.mark.usefixtures("no_proxies")
def test_one_of_several_addresses_is_enough(nobody, somebody):
    assert why_unreachable([nobody]) == "Connection refused"
    assert why_unreachable([nobody, somebody]) == why_unreachable([somebody, nobody]) == ""


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("error", [OSError("no route"), OverflowError("port"), UnicodeError("label too long")])
def test_every_host_that_is_none_has_a_reason(error, monkeypatch):
    def connect(*_):
        raise error

    monkeypatch.setattr(socket, "create_connection", connect)
    assert why_unreachable(["http://a..b/v1"]) == str(error)


@pytest.mark.usefixtures("no_proxies")
def test_an_address_without_a_port_has_that_of_its_scheme(monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "create_connection", lambda address, _: asked.append(address) or socket.socket())
    assert why_unreachable(["http://h/v1"]) == why_unreachable(["https://h"]) == why_unreachable(["http://h:9"]) == ""
    assert asked == [("h", 80), ("h", 443), ("h", 9)]


@pytest.mark.usefixtures("no_proxies")
def test_what_a_proxy_reaches_is_not_known(nobody, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", nobody)
    assert why_unreachable([nobody]) == ""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert why_unreachable([nobody])


@pytest.mark.usefixtures("no_proxies")
def test_a_run_says_so_before_its_first_stage_and_goes_on(nobody, somebody, corpus, tiny_encoder, tmp_path, caplog):
    caplog.set_level("INFO", "acclimate")
    for name, address, says in (("one", nobody, True), ("other", somebody, False)):
        changes = [*SMALL, f"generate.llm=openai:tiny@{address}", f"train.base={tiny_encoder}"]
        settings = resolve(chain.STAGES, load_recipe("quick"), [*changes, f"distill.base={tiny_encoder}"])
        run = new_run(tmp_path / name, str(corpus), settings, recipe="quick", seed=0, provided=Provided.of())
        caplog.clear()
        run_until(run, until="index", progress=None)
        warning = f"nothing answers for openai:tiny@{address}: Connection refused"
        assert (warning in caplog.messages[0], warning in caplog.text) == (says, says)
        assert caplog.messages[-1].startswith("index ")
