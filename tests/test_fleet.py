"""Several servers that answer alike under one name."""

from __future__ import annotations

import time

import pytest
import serving

from acclimate.base.errors import LLMError, SettingError
from acclimate.llm.backends.server import ServerLLM
from acclimate.llm.decoding import Decoding
from acclimate.llm.server import fleet
from acclimate.llm.server.address import parse
from acclimate.llm.server.fleet import Fleet
from acclimate.llm.server.gate import Patience

pytestmark = pytest.mark.usefixtures("short_waits")


def together(*urls: str, patience: Patience = serving.HASTY) -> ServerLLM:
    return ServerLLM(f"openai:m@{','.join(urls)}", patience=patience)


@pytest.fixture
def two():
    with serving.serving() as first, serving.serving() as second:
        yield first, second


def test_addresses_are_read_and_belong_together():
    address = parse("openai:m@http://a/v1,https://b:80/v1/,http://a/v1/")
    assert (address.url, address.more_urls) == ("http://a/v1", ("https://b:80/v1",))
    assert parse("openai:m@http://a/x,y/v1").more_urls == ()
    for name, words in (
        ("openai:m@http://a/v1,http://user:secret@b/v1", "a secret in it"),
        ("openai:m@http://a/v1,http:///v1", "without a host"),
        ("openai:m@http://a/v1?api-version=1,http://b/v1", "different"),
    ):
        with pytest.raises(SettingError, match=words):
            parse(name)


def test_as_many_are_asked_at_once_however_it_decodes():
    llm = together("http://a/v1", "http://b/v1")
    assert llm.decoding_as(Decoding(5)).decoding_as(Decoding(6)).concurrency == llm.concurrency == 32


def test_another_server_more_does_not_ask_again_for_what_was_answered():
    assert together("http://a/v1", "http://b/v1").fingerprint == together("http://a/v1").fingerprint


def test_requests_are_divided_and_each_is_answered_once(two):
    llm = together(*(server.url for server in two))
    answers = llm.complete(serving.PROMPTS)
    assert [answer.text for answer in answers] == [f"what is number {n}" for n in range(len(serving.PROMPTS))]
    assert all(server.requests for server in two)
    assert sum(len(server.requests) for server in two) == len(serving.PROMPTS)


def test_a_dead_server_is_left_out_at_once_and_without_waiting(two):
    first, second = two
    dead = first.url
    first.shutdown()
    first.server_close()
    started = time.monotonic()
    answers = together(dead, second.url).complete(serving.PROMPTS)
    assert all(answer.text for answer in answers)
    assert len(second.requests) == len(serving.PROMPTS)
    assert time.monotonic() - started < 10


def test_one_that_fails_for_a_while_is_asked_again(two, monkeypatch):
    monkeypatch.setattr(fleet, "_FIRST_SECONDS", 0.05)
    first, second = two
    failures = [503] * 3
    first.reply = lambda request, nth: serving.error(failures.pop()) if failures else serving.echo(request)
    second.reply = lambda request, nth: time.sleep(0.05) or serving.echo(request)
    llm = together(first.url, second.url)
    assert all(answer.text for _ in range(3) for answer in llm.complete(serving.PROMPTS))
    assert len(first.requests) > 3 - len(failures)


def test_what_is_wrong_with_a_request_is_not_asked_of_all(two):
    for server in two:
        server.reply = lambda request, nth: serving.error(404, "The model `m` does not exist.")
    with pytest.raises(LLMError, match="does not exist"):
        together(*(server.url for server in two)).complete(serving.PROMPTS[:1])
    assert sum(len(server.requests) for server in two) == 1


def test_where_all_fail_the_failure_is_told(two):
    for server in two:
        server.reply = lambda request, nth: serving.error(503, "busy")
    with pytest.raises(LLMError, match="busy"):
        together(*(server.url for server in two), patience=Patience(1, 1.0, 5)).complete(serving.PROMPTS[:1])


def test_a_server_is_paused_for_its_own_failures_as_long_as_it_asks_and_until_it_answers(two, monkeypatch):
    monkeypatch.setattr(fleet, "_FIRST_SECONDS", 0.0)
    first, second = two
    llm = together(first.url, second.url)
    for server in two:
        server.reply = lambda request, nth: (200, {}, "no JSON")  # of this prompt, not of a server
    assert llm.complete(serving.PROMPTS[:1])[0].finish_reason == "error"
    assert len(first.requests) + len(second.requests) == 3
    for server in two:
        server.reply = lambda request, nth: serving.error(503) if nth == 1 else serving.echo(request)
    llm.complete(serving.PROMPTS[1:2])
    assert not any(llm._fleet._failures.values())
    first.reply = lambda request, nth: serving.error(503, **{"retry-after": "60"})
    second.reply = lambda request, nth: serving.echo(request)
    llm = together(first.url, second.url)
    first.requests.clear()
    for prompt in serving.PROMPTS[2:6]:
        llm.complete([prompt])
    assert len(first.requests) == 1


def test_the_least_busy_is_asked_and_one_left_out_comes_back_later_and_later(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(fleet.time, "monotonic", lambda: now[0])
    pair = Fleet(["a", "b"])
    with pair.address() as first, pair.address() as second:
        assert {first, second} == {"a", "b"}
    for seconds in (1.0, 2.0, 4.0):
        assert pair.leave_out("a")
        assert not pair.leave_out("b")
        pair.answered("b")
        for moment, url in ((0.9 * seconds, "b"), (0.1 * seconds, "a")):
            now[0] += moment
            with pair.address() as first, pair.address() as second:
                assert {first, second} == {"b", url}


def test_a_pause_is_as_long_as_asked_for_and_longer_only_after_failures_in_a_row(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(fleet.time, "monotonic", lambda: now[0])
    pair = Fleet(["a", "b"])

    def ends_after(seconds):
        now[0] += 0.9 * seconds
        with pair.address() as before:
            now[0] += 0.2 * seconds
        with pair.address() as after:
            return (before, after) == ("b", "a")

    for _ in range(3):  # requests that were under way together
        pair.leave_out("a")
    assert ends_after(1)
    pair.leave_out("a")
    assert ends_after(2)
    pair.answered("a")
    pair.leave_out("a")
    assert ends_after(1)
    pair.answered("a")
    pair.leave_out("a", 30.0)
    assert ends_after(30)
    for _ in range(9):
        pair.leave_out("a")
        now[0] += 60
    pair.leave_out("a")
    assert ends_after(60)
