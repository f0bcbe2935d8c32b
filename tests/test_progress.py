"""Progress: what is done and what is left, one line in a terminal, few lines in a log."""

from __future__ import annotations

import io
import logging

import pytest

from acclimate.base import progress
from acclimate.base.progress import Loading, Progress, duration


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


def test_a_log_gets_a_line_every_few_seconds(clock):
    stream = io.StringIO()
    report = Progress("generate", "queries", stream=stream)
    for done in range(1, 61):
        clock.now += 1
        report(done, 60)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 6
    assert lines[0] == "generate   11 of 60 queries, 1 a second, 49s left"
    assert lines[-1] == "generate   60 of 60 queries, 1 a second"


@pytest.mark.parametrize("had", [0, 900])
def test_loading_a_model_and_what_was_done_before_are_no_work(clock, had):
    stream = io.StringIO()
    report = Progress("generate", "queries", stream=stream)
    clock.now += 400  # to load
    for done in range(100, had + 1, 100):
        clock.now += 0.01
        report(done, 1000)
    for done in range(had + 4, had + 44, 4):
        clock.now += 8
        report(done, 1000)
    lines = stream.getvalue().splitlines()
    assert len(lines) >= 4
    assert all("0.5 a second" in line for line in lines)
    first = int(lines[0].split()[1])
    assert lines[0].endswith(f"{duration(2 * (1000 - first))} left")


def test_time_left_is_that_of_the_last_lines(clock):
    stream = io.StringIO()
    report = Progress("index", "documents", stream=stream)
    for done, seconds in [*((done, 1) for done in range(100)), *((done, 100) for done in range(100, 120))]:
        clock.now += seconds
        report(done, 200)
    assert stream.getvalue().splitlines()[-1] == "index      119 of 200 documents, 0.01 a second, 2h 15m left"


def test_a_terminal_shows_the_first_batch_without_a_rate(clock):
    stream = Terminal()
    report = Progress("index", "documents", stream=stream)
    clock.now += 100
    report(32, 1000)
    assert stream.getvalue() == "\r\x1b[Kindex      32 of 1,000 documents"


def test_loading_is_a_line_of_its_own():
    stream, live = io.StringIO(), Terminal()
    logger = logging.getLogger("acclimate.base.loading")
    with Loading(stream=stream), Loading(stream=live):
        logger.info("loading %s", "some/model")
    logger.info("loading %s", "another")
    assert stream.getvalue() == "           loading some/model\n"
    assert live.getvalue() == "\r\x1b[K           loading some/model\n"
    assert not logger.handlers


def test_a_quick_stage_says_nothing_in_a_log(clock):
    stream = io.StringIO()
    report = Progress("filter", "queries", stream=stream)
    for done in range(1, 11):
        clock.now += 0.1
        report(done, 10)
    report.end()
    assert stream.getvalue() == ""


def test_a_terminal_gets_one_line_that_is_rewritten_and_cleared(clock):
    stream = Terminal()
    report = Progress("index", "documents", stream=stream)
    for done in range(1, 11):
        clock.now += 0.1
        report(done, 10)
    report.end()
    shown = stream.getvalue()
    assert "\n" not in shown
    assert shown.endswith("\r\x1b[K")
    assert 4 <= shown.count("\r\x1b[Kindex") <= 11


@pytest.mark.parametrize("done", [0, 1])
def test_no_time_at_all_is_no_division_by_zero(clock, done):
    stream = Terminal()
    Progress("index", "documents", stream=stream)(done, 1)
    clock.now += 5
    Progress("index", "documents", stream=stream)(0, 0)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0s"), (4.21, "4.2s"), (12.6, "13s"), (130, "2m 10s"), (60, "1m 00s"), (3900, "1h 05m"), (90000, "25h 00m")],
)
def test_durations(seconds, said):
    assert duration(seconds) == said


def test_durations_have_no_sixty_seconds():
    assert all("60" not in duration(tenths / 10) for tenths in range(36_000))
