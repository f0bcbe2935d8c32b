"""Progress for people, on stderr: what is done, how fast, and the time left.

A terminal gets one line that rewrites itself; anything else (a log, a pipe) gets a line every few seconds.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TextIO

_POINTS = 8  # lines that a rate is taken over


class Progress:
    """A callable `(done, total)`; `unit` is what is counted ("queries"). The first call starts the clock."""

    def __init__(self, name: str, unit: str, *, stream: TextIO | None = None, every_seconds: float = 10.0) -> None:
        self.name = name
        self.unit = unit
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.every_seconds = 0.2 if self.live else every_seconds
        self.started = time.monotonic()
        # (when, how many done): rates are those of the last lines, so what an interrupted run had done does not count
        self.points = deque([(self.started, 0)], maxlen=_POINTS)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self.points[-1][0] < self.every_seconds:
            return
        then, done_then = self.points[0]
        self.points.append((now, done))
        elapsed = now - self.started
        rate = (done - done_then) / max(now - then, 1e-9)
        left = "" if done >= total else f", {duration((total - done) / rate)} left" if rate > 0 else ""
        line = f"{self.name:<10} {done:,} of {total:,} {self.unit}, {rate:,.3g} a second{left}"
        if self.live:
            self.stream.write(f"\r\x1b[K{line}")
        elif done < total or elapsed > self.every_seconds:
            self.stream.write(line + "\n")
        self.stream.flush()

    def end(self) -> None:
        """Clear the live line."""
        if self.live:
            self.stream.write("\r\x1b[K")
            self.stream.flush()


def duration(seconds: float) -> str:
    """`4.2s`, `2m 10s`, `1h 05m`."""
    if seconds < 59.5:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest:02d}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02d}m"
