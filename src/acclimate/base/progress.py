"""Progress for people, on stderr: what is done, how fast, and the time left.

A terminal gets one line that rewrites itself; anything else (a log, a pipe) gets a line every few seconds. Time starts
with the first that is done: models are loaded before it, which is a line of its own.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from typing import TextIO

_POINTS = 8  # lines that a rate is taken over
_AT_ONCE = 1.0  # seconds after the first call: what is told in them, an interrupted run had done
_CLEARED = "\r\x1b[K"


class Progress:
    """A callable `(done, total)`; `unit` is what is counted ("queries"). The first call starts the clock.

    Rates are those of the last lines.
    """

    def __init__(self, name: str, unit: str, *, stream: TextIO | None = None, every_seconds: float = 10.0) -> None:
        self.name = name
        self.unit = unit
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.every_seconds = 0.2 if self.live else every_seconds
        self.started = 0.0
        self.points: deque[tuple[float, int]] = deque(maxlen=_POINTS)  # when, how many done

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self.points:
            self.started = now
        if now - self.started < _AT_ONCE:
            self.points.clear()
            self.points.append((now, done))
            if self.live:
                self._write(f"{_CLEARED}{self.name:<10} {done:,} of {total:,} {self.unit}")
            return
        if done < total and now - self.points[-1][0] < self.every_seconds:
            return
        then, done_then = self.points[0]
        self.points.append((now, done))
        elapsed = now - self.started
        rate = (done - done_then) / max(now - then, 1e-9)
        left = "" if done >= total else f", {duration((total - done) / rate)} left" if rate > 0 else ""
        line = f"{self.name:<10} {done:,} of {total:,} {self.unit}, {rate:,.3g} a second{left}"
        if self.live:
            self._write(f"{_CLEARED}{line}")
        elif done < total or elapsed > self.every_seconds:
            self._write(line + "\n")

    def end(self) -> None:
        """Clear the live line."""
        if self.live:
            self._write(_CLEARED)

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


class Loading(logging.Handler):
    """Writes a line for each model that `acclimate.base.loading` says it loads, for as long as it is entered."""

    def __init__(self, *, stream: TextIO | None = None) -> None:
        super().__init__(logging.INFO)
        self.stream = stream or sys.stderr
        self.said = logging.getLogger("acclimate.base.loading")

    def emit(self, record: logging.LogRecord) -> None:
        cleared = _CLEARED if self.stream.isatty() else ""
        self.stream.write(f"{cleared}{'':<10} {record.getMessage()}\n")
        self.stream.flush()

    def __enter__(self) -> Loading:
        self.level_before = self.said.level
        self.said.setLevel(logging.INFO)
        self.said.addHandler(self)
        return self

    def __exit__(self, *raised: object) -> None:
        self.said.removeHandler(self)
        self.said.setLevel(self.level_before)


def duration(seconds: float) -> str:
    """`4.2s`, `2m 10s`, `1h 05m`."""
    if seconds < 59.5:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest:02d}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02d}m"
