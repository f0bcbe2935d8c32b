"""Progress: what is done and what is left, one line in a terminal, few lines in a log."""

from __future__ import annotations

import io
import logging
from itertools import accumulate

import pytest

from acclimate.base import distributed, progress
from acclimate.base.progress import Bar, LogLines, Progress, duration, shown
from acclimate.base.testing import FakeRetriever
from acclimate.cli.shell import log_on_stderr
from acclimate.records import Query
from acclimate.search import measuring
from acclimate.search.names import SystemName
from acclimate.search.systems import Contender


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


@pytest.fixture
def lines(caplog):
    """What the log has, as it is now."""
    caplog.set_level(logging.INFO, "acclimate")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_log_gets_a_line_every_few_seconds(clock, lines):
    log = LogLines()
    for done in range(1, 61):
        clock.now += 1
        log("generate", done, 60, "queries")
    assert len(lines()) == 6
    assert lines()[0] == "generate   11 of 60 queries, 1 a second, 49s left"
    assert lines()[-1] == "generate   60 of 60 queries, 1 a second"


@pytest.mark.parametrize("had", [0, 900])
def test_loading_a_model_and_what_was_done_before_are_no_work(clock, lines, had):
    log = LogLines()
    clock.now += 400  # to load
    for done in range(100, had + 1, 100):
        clock.now += 0.01
        log("generate", done, 1000, "queries")
    for done in range(had + 4, had + 44, 4):
        clock.now += 8
        log("generate", done, 1000, "queries")
    assert len(lines()) >= 4
    assert all("0.5 a second" in line for line in lines())
    first = int(lines()[0].split()[1])
    assert lines()[0].endswith(f"{duration(2 * (1000 - first))} left")


def test_time_left_is_that_of_the_last_lines(clock, lines):
    log = LogLines()
    for done, seconds in [*((done, 1) for done in range(100)), *((done, 100) for done in range(100, 120))]:
        clock.now += seconds
        log("index", done, 200, "documents")
    assert lines()[-1] == "index      119 of 200 documents, 0.01 a second, 2h 15m left"


def test_the_time_of_each_work_is_its_own(clock, lines):
    log = LogLines()
    for _ in range(2):  # two students, say
        for done in range(1, 31):
            clock.now += 1
            log("distill", done, 30, "documents")
        clock.now += 1000
    assert len(lines()) == 6
    assert all("1 a second" in line for line in lines())


def test_what_is_done_is_said_once_however_often_it_is_reported(clock, lines, monkeypatch):
    """A stage that waits for its last threads, or saves what it made, reports the same numbers again and again."""
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    log, bar = LogLines(), Bar()
    for done in [*range(1, 31), *[30] * 200]:
        clock.now += 1
        for listener in (log, bar):
            listener("distill", done, 30, "steps")
        if done == 30:
            terminal.truncate(0)
    assert sum("30 of 30" in line for line in lines()) == 1
    assert terminal.getvalue() == ""


def test_a_quick_stage_says_nothing_in_a_log(clock, lines):
    log = LogLines()
    for done in range(1, 11):
        clock.now += 0.1
        log("filter", done, 10, "queries")
    assert lines() == []


@pytest.mark.parametrize("done", [0, 1])
@pytest.mark.parametrize("listener", [LogLines, Bar])
def test_no_time_at_all_is_no_division_by_zero(clock, done, listener):
    told = listener()
    told("index", done, 1, "documents")
    clock.now += 5
    told("index", 0, 0, "documents")
    told.close()


def test_a_terminal_gets_one_line_that_is_rewritten_and_cleared(monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with shown():
        work = Progress("index", "documents")
        for done in range(1, 11):
            work(done, 10)
    screen = terminal.getvalue()
    assert "index" in screen
    assert "10/10" in screen or "1/10" in screen
    assert "\n" not in screen
    assert screen.rpartition("\r")[2] == ""


def test_what_is_said_while_there_is_a_bar_has_a_line_of_its_own(monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with shown(), log_on_stderr():
        Progress("index", "documents")(1, 10)
        distributed.say("index", "something")
        Progress("index", "documents")(2, 10)
    before, _, after = terminal.getvalue().partition("index      something\n")
    assert before.endswith("\r")
    assert "10 " in after


def test_a_callback_is_told_of_everything_within_and_of_nothing_outside():
    calls = []
    with shown(lambda *call: calls.append(call)):
        work = Progress("mine", "queries")
        work(1, 2)
        work(2, 2)
    Progress("mine", "queries")(1, 2)
    assert calls == [("mine", 1, 2, "queries"), ("mine", 2, 2, "queries")]


def test_none_is_silent(capsys, lines):
    with shown(None):
        Progress("mine", "queries")(1, 2)
    Progress("mine", "queries")(1, 2)
    assert capsys.readouterr() == ("", "")
    assert lines() == []


def test_of_several_processes_the_first_shows_progress(monkeypatch):
    calls = []
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with shown(lambda *call: calls.append(call)):
        Progress("train", "examples")(1, 2)
    assert calls == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0s"), (4.21, "4.2s"), (12.6, "13s"), (130, "2m 10s"), (60, "1m 00s"), (3900, "1h 05m"), (90000, "25h 00m")],
)
def test_durations(seconds, said):
    assert duration(seconds) == said


def test_durations_have_no_sixty_seconds():
    assert all("60" not in duration(tenths / 10) for tenths in range(36_000))


@pytest.mark.parametrize(
    ("device", "seconds", "parts"),
    [
        ("cpu", 60, [16, 1, 2, 4, 8, 1, 16, 1, 2, 4, 8, 1, 8, 1, 2, 4, 1]),
        ("cpu", 0, [16, *[1] * 16, 16, *[1] * 16, 8, *[1] * 8]),
        ("cuda", 0, [16, 12, 4, 16, 12, 4, 8, 8]),  # 1,280 pairs at most, of 100 a query
    ],
)
def test_queries_are_answered_in_blocks_by_all_systems_and_the_reranked_ones_in_parts(
    device, seconds, parts, tmp_path, monkeypatch
):
    monkeypatch.setattr(measuring, "_SECONDS", seconds)
    monkeypatch.setattr(measuring.models, "device", lambda: device)
    asked: list[int] = []

    class Watched(FakeRetriever):
        def search(self, queries, k):
            asked.append(len(queries))
            return super().search(queries, k)

    queries = [Query(f"q{n}", "the same") for n in range(40)]
    first = Contender(SystemName("dense"), Watched({"the same": {"d": 1.0}}), 0, {})
    done: list[int] = []
    measuring.write_runs([first, first._replace(depth=100)], queries, 100, 2**20, tmp_path, done.append)
    assert asked == parts
    assert done == [*accumulate(parts)]


def test_each_search_that_is_timed_is_a_sign_of_progress():
    alone = Contender(SystemName("dense"), FakeRetriever({"q": {"d": 1.0}}), 0, {})
    done: list[int] = []
    queries = [Query(f"q{n}", "q") for n in range(5)]
    measuring.latencies(alone, queries, 10, 0, done.append)
    assert done == [*range(1, measuring.n_timed(alone, queries) + 1)]
    assert len(done) > 1
