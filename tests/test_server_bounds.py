"""Servers that drip, pour, or pack more than there is room for: a request ends in time, and no answer fills memory."""

from __future__ import annotations

import gzip
import json
import time
import zlib

import pytest

pytest.importorskip("openai", reason="the openai extra is not installed")

from serving import PROMPTS, Handler, chat, echo, model, serving

from acclimate.base.errors import LLMError
from acclimate.llm.backends.server import ServerLLM
from acclimate.llm.server import bounds
from acclimate.llm.server.gate import Patience

pytestmark = pytest.mark.usefixtures("short_waits")


def test_an_answer_that_drips_on_and_on_is_given_up_in_time():
    started = time.monotonic()
    with serving() as server:
        server.part, server.pause = 1, 0.05  # a byte is soon enough for the client; the answer would take 10 seconds
        with pytest.raises(LLMError, match=r"not read in 0.3 seconds"):
            ServerLLM(f"openai:tiny@{server.url}", patience=Patience(1, 0.3, 20)).complete(PROMPTS[:1])
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("is_first", [True, False], ids=["of a new connection", "of one that is kept"])
def test_headers_that_drip_on_and_on_are_given_up_in_time(is_first, monkeypatch):
    monkeypatch.setattr(Handler, "protocol_version", "HTTP/1.1")
    with serving() as server:
        llm = ServerLLM(f"openai:tiny@{server.url}", patience=Patience(0, 1, 20))
        if not is_first:
            llm.complete(PROMPTS[:1])
        server.drips_headers, server.part, server.pause = True, 1, 0.05  # they would take 7 seconds
        started = time.monotonic()
        with pytest.raises(LLMError, match=r"failed 1 time, last with: .*not read in 1 seconds"):
            llm.complete(PROMPTS[1:2])
        assert time.monotonic() - started < 4


@pytest.mark.parametrize(
    ("encoding", "body", "said"),
    [
        ("gzip", gzip.compress(bytes(1 << 21)), "an answer of more than 5,000 bytes"),  # in 2 kB
        ("gzip", gzip.compress(b"{}") + bytes(6000), "an answer of more than 5,000 bytes"),  # and no end
        ("deflate", zlib.compress(bytes(1 << 21)), "an answer of more than 5,000 bytes"),
    ],
    ids=["small", "endless", "deflated"],
)
def test_an_answer_that_unpacks_without_end_is_not_unpacked_into_memory(encoding, body, said, monkeypatch):
    monkeypatch.setattr(bounds, "MOST_BYTES", 5000)
    answer = 200, {"content-encoding": encoding}, body
    with (
        serving(lambda request, nth: answer) as server,
        pytest.raises(LLMError, match=f"failed 1 time, last .*{said}"),
    ):
        ServerLLM(f"openai:tiny@{server.url}", patience=Patience(0, 5, 20)).complete(PROMPTS[:1])


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("br", "content-encoding 'br'; asked for gzip or none"),
        ("gzip, gzip", "content-encoding 'gzip, gzip'; asked for gzip or none"),
        ("gzip", "DecodingError: no gzip: .* incorrect header check"),  # and not gzipped
    ],
)
def test_an_encoding_that_cannot_be_unpacked_stops_at_once(encoding, said):
    with serving(lambda request, nth: (200, {"content-encoding": encoding}, b"packed")) as server:
        with pytest.raises(LLMError, match=f"{said} .switch off the compression"):
            model(server).complete(PROMPTS[:1])
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("Deflate", zlib.compress), ("gzip, identity", gzip.compress)],
)
def test_a_packed_answer_is_read_in_any_parts(encoding, pack):
    def reply(request, nth):
        return 200, {"content-encoding": encoding}, pack(json.dumps(echo(request)).encode())

    with serving(reply) as server:
        server.part = 7
        assert [one.text for one in model(server).complete(PROMPTS[:3])] == [f"what is number {n}" for n in range(3)]


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"{}")[:12]], ids=["none", "cut"])
def test_what_is_not_packed_as_it_is_said_to_be_is_no_answer(body):
    answer = 200, {"content-encoding": "gzip"}, body
    with serving(lambda request, nth: answer) as server, pytest.raises(LLMError, match=r"decompressing data|no JSON"):
        ServerLLM(f"openai:tiny@{server.url}", patience=Patience(1, 5, 20)).complete(PROMPTS[:1])


def test_an_answer_without_end_is_not_read_into_memory(monkeypatch):
    monkeypatch.setattr(bounds, "MOST_BYTES", 5000)
    with serving(lambda request, nth: chat("word " * 2000)) as server:
        with pytest.raises(LLMError, match=r"an answer of more than 5,000 bytes"):
            ServerLLM(f"openai:tiny@{server.url}", patience=Patience(1, 5, 20)).complete(PROMPTS[:1])
        assert len(server.requests) == 2
