"""How long a server is waited for, and asked again after: as it says in whatever words, and no longer than allowed."""

from __future__ import annotations

import signal
import threading
import time
from email.utils import formatdate

import pytest

pytest.importorskip("openai", reason="the openai extra is not installed")

from serving import PROMPTS, echo, error, model, serving

from acclimate.llm.server.failures import Outcome, failure
from acclimate.llm.server.gate import Patience
from acclimate.llm.server.waits import retry_after

pytestmark = pytest.mark.usefixtures("short_waits")


def test_a_slow_answer_is_given_up_and_asked_again():
    def reply(request, nth):
        if nth == 1 and "number 3\n" in request["messages"][0]["content"]:
            time.sleep(1.5)
        return echo(request)

    with serving(reply) as server:
        started = time.monotonic()
        assert len(model(server).complete(PROMPTS)) == 24
        assert 0.5 <= time.monotonic() - started < 6
        assert len(server.requests) == 25


def test_a_wait_that_the_server_asks_for_is_kept():
    times = []

    def reply(request, nth):
        times.append(time.monotonic())
        return error(429, **{"retry-after": "0.4"}) if nth == 1 else echo(request)

    with serving(reply) as server:
        model(server).complete(PROMPTS[:1])
    assert times[1] - times[0] >= 0.4


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Rate limit reached for m: Limit 30000, Used 29925. Please try again in 1.45s. Visit https://x/9", 1.45),
        ("Please try again in 20ms.", 0.02),
        ("Please try again in 6m32.5s.", 392.5),
        ("Please retry after 26 seconds.", 26.0),
        ("Quota exceeded. * limit: 10, model: m\nPlease retry in 27.4s.", 27.4),
        ("Try again in 1 hour, 2 minutes and 3 seconds", 3723.0),
        ("Retry limit of 3 reached", None),
        ("please try again later", None),
        ("The model m-3s is overloaded", None),
    ],
)
def test_a_wait_may_be_told_in_words(words, seconds):
    assert failure(429, {"error": {"message": words}}).after == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0.4", 0.4),
        ("-3", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),  # from the response's own date
        ("Wed Oct 21 07:28:30 2015", 30.0),  # the obsolete form, which is in UTC, too
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_wait_is_told_in_seconds_or_as_a_date(value, seconds):
    headers = {"retry-after": value, "date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert retry_after(headers) == seconds


def test_a_wait_in_milliseconds_is_the_more_exact():
    assert retry_after({"retry-after": "1", "retry-after-ms": "40"}) == 0.04


def test_a_wait_until_a_date_counts_from_now_where_the_response_has_none():
    headers = {"retry-after": formatdate(time.time() + 60, usegmt=True)}
    assert 50 < retry_after(headers) <= 60


def test_a_date_is_in_utc_whatever_the_time_zone_here(monkeypatch):
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    try:
        headers = {"retry-after": "Wed Oct 21 07:28:30 2015", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}
        assert retry_after(headers) == 30
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_a_status_that_may_pass_is_asked_again_and_of_another_server_unless_the_request_is_in_conflict(status):
    found = failure(status, "no")
    assert found.means is Outcome.AGAIN
    assert found.is_of_server == (status != 409)


def test_a_server_that_never_answers_can_be_left(interruptible, caplog):
    """The first interrupt waits for the answers under way, the second for nothing."""
    caplog.set_level("INFO", "acclimate")
    me, is_left, end = threading.get_ident(), threading.Event(), time.monotonic() + 10

    def reply(request, nth):
        signal.pthread_kill(me, signal.SIGINT)
        while "interrupt again to leave them" not in caplog.text and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)  # a signal just before a thread waits for a lock is handled only after the wait
        signal.pthread_kill(me, signal.SIGINT)
        is_left.wait(10)
        return echo(request)

    with serving(reply) as server:
        with pytest.raises(KeyboardInterrupt):
            model(server, concurrency=1, patience=Patience(0, 60, 60)).complete(PROMPTS)
        assert time.monotonic() < end
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "requests")
        is_left.set()
