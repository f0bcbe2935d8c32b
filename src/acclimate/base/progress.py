"""How far a stage is, told to whoever asked for it: a program's callback, a bar for people, or lines in a log.

The library itself shows nothing: `shown` says who is told, and outside of it nobody is. A callback is called with the
stage, how much is done, how much there is, and what is counted ("queries"); what it raises ends the run, of which
everything made is kept.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from shutil import get_terminal_size
from typing import Any, Literal

from acclimate.base import distributed

Callback = Callable[[str, int, int, str], object]  # stage, done, total, unit
Shown = Callback | Literal["auto"] | None  # a bar or lines, whichever fits; nothing

logger = logging.getLogger(__name__)

_POINTS = 8  # lines that a rate is taken over
_EVERY_SECONDS = 10.0  # a line in the log
_AT_ONCE = 1.0  # seconds after the first call: what is done in them, an interrupted run had done

_listener: ContextVar[Callback | None] = ContextVar("progress of acclimate", default=None)


class Progress:
    """A callable `(done, total)` for the work of one stage; `unit` is what is counted.

    check: raises what is to end the work.
    """

    def __init__(self, stage: str, unit: str, check: Callable[[], None] = lambda: None) -> None:
        self.stage, self.unit, self.check = stage, unit, check
        self.listener = _listener.get()

    def __call__(self, done: int, total: int) -> None:
        self.check()
        if self.listener is not None:
            self.listener(self.stage, done, total, self.unit)


@contextmanager
def also(listener: Callback) -> Iterator[None]:
    """Within it, progress goes to this callback, too, before whoever else is told."""
    before = _listener.get()

    def both(stage: str, done: int, total: int, unit: str) -> None:
        listener(stage, done, total, unit)
        if before is not None:
            before(stage, done, total, unit)

    token = _listener.set(both)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def shown(progress: Shown = "auto") -> Iterator[None]:
    """Within it, progress goes to a callback, or by default to a bar in a terminal or a notebook, else to the log."""
    automatic = Bar() if _is_watched() else LogLines()
    listener = automatic if progress == "auto" else progress
    token = _listener.set(listener if distributed.is_main() else None)
    try:
        yield
    finally:
        _listener.reset(token)
        automatic.close()


class Bar:
    """A bar that goes when its work is done. Its time starts with the first call: models are loaded before it."""

    def __init__(self) -> None:
        self._class = _bar_class()  # before a library imports it, and warns
        self._bar: Any = None
        self._work: tuple[str, str, int] | None = None
        self._started = 0.0

    def __call__(self, stage: str, done: int, total: int, unit: str) -> None:
        if self._work != (stage, unit, total) or done < self._bar.n:
            self.close()
            self._work, self._started = (stage, unit, total), time.monotonic()
            self._bar = self._class(
                desc=f"{stage:<10}", total=total, initial=done, unit=f" {unit}", leave=False, **_size()
            )
        elif time.monotonic() - self._started < _AT_ONCE:
            self._bar.initial = done
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
        self._bar = self._work = None


class Pace:
    """How fast a piece of work goes, by the last times that it was told.

    Time starts with the first call, and none of what is told within a second of it counts.
    """

    def __init__(self) -> None:
        self._work: tuple[str, str] | None = None
        self._points: deque[tuple[float, int]] = deque(maxlen=_POINTS)  # when, how many done
        self.started = 0.0

    def goes_on(self, stage: str, done: int, unit: str) -> bool:
        """False where a piece of work has only begun."""
        now = time.monotonic()
        if self._work != (stage, unit) or done < self._points[-1][1]:
            self._work, self.started = (stage, unit), now
        if now - self.started < _AT_ONCE:
            self._points.clear()
            self._points.append((now, done))
            return False
        return True

    @property
    def silence(self) -> float:
        """Seconds since a rate was taken."""
        return time.monotonic() - self._points[-1][0]

    def rate(self, done: int) -> float:
        """How many a second."""
        now = time.monotonic()
        then, done_then = self._points[0]
        self._points.append((now, done))
        return (done - done_then) / max(now - then, 1e-9)


class LogLines:
    """A line in the log every few seconds: what is done, how fast by the last lines, and the time left."""

    def __init__(self) -> None:
        self._pace = Pace()

    def __call__(self, stage: str, done: int, total: int, unit: str) -> None:
        if not self._pace.goes_on(stage, done, unit):
            return
        if done < total and self._pace.silence < _EVERY_SECONDS:
            return
        rate = self._pace.rate(done)
        left = "" if done >= total else f", {duration((total - done) / rate)} left" if rate > 0 else ""
        if done < total or time.monotonic() - self._pace.started > _EVERY_SECONDS:
            logger.info("%-10s %s", stage, f"{done:,} of {total:,} {unit}, {rate:,.3g} a second{left}")

    def close(self) -> None:
        """Nothing is held."""


def _is_watched() -> bool:
    """True in a terminal and in a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel") or (sys.stderr is not None and sys.stderr.isatty())


def _size() -> dict[str, int]:
    """That of the terminal, where there is one: some say that they have no columns, and bars would believe them."""
    columns, lines = get_terminal_size()
    return {"ncols": columns, "nrows": lines} if sys.stderr.isatty() else {}


def _bar_class() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without widgets gets a bar of text
        from tqdm.auto import tqdm
    return tqdm


def duration(seconds: float) -> str:
    """`4.2s`, `2m 10s`, `1h 05m`."""
    if seconds < 59.5:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest:02d}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02d}m"
