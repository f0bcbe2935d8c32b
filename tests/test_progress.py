"""Progress: what is done and what is left, one line in a terminal, few lines in a log."""

from __future__ import annotations

import io

import pytest

from acclimate import progress
from acclimate.progress import Progress, duration


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
    assert lines[0] == "generate   10 of 60 queries, 1 a second, 50s left"
    assert lines[-1] == "generate   60 of 60 queries, 1 a second"


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
    assert 4 <= shown.count("\r\x1b[Kindex") <= 6


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
