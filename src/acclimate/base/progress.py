"""Progress of stages: reported to a callback, as a bar in a terminal, or as lines in the log.

Nothing is reported outside of `shown`. A callback receives the stage, the number done, the total, and the unit
("queries"); an exception from it stops the run, keeping everything made so far.
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
from acclimate.base.errors import SettingError
from acclimate.base.text import quoted

Callback = Callable[[str, int, int, str], object]  # stage, done, total, unit
Shown = Callback | Literal["auto"] | None  # "auto": a bar or log lines; None: nothing

logger = logging.getLogger(__name__)

_POINTS = 8  # log lines that the rate is averaged over
_EVERY_SECONDS = 10.0  # between log lines
_WARM_UP_SECONDS = 1.0  # after the first call; items done within it were resumed from an interrupted run

_listener: ContextVar[Callback | None] = ContextVar("progress of acclimate", default=None)


class Progress:
    """A callable `(done, total)` that reports the progress of one stage, counted in `unit`.

    check: called first each time; may raise to stop the work.
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
    """Report progress to this callback too, before any other listener."""
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
    """Report progress to a callback, by default to a bar in a terminal or notebook and to the log elsewhere."""
    if not (progress is None or progress == "auto" or callable(progress)):
        raise SettingError(f"progress is {quoted(progress)}; expected a callable, None or 'auto'")
    automatic = Bar() if _is_watched() else LogLines()
    listener = automatic if progress == "auto" else progress
    token = _listener.set(listener if distributed.is_main() else None)
    try:
        yield
    finally:
        _listener.reset(token)
        automatic.close()


class Bar:
    """A progress bar, removed when the work is done. Timing starts with the first call, after models are loaded."""

    def __init__(self) -> None:
        self._class = _bar_class()  # imported now, without warnings, before a library imports it
        self._bar: Any = None
        self._work: tuple[str, str, int] | None = None
        self._started = 0.0

    def __call__(self, stage: str, done: int, total: int, unit: str) -> None:
        if done >= total:
            self.close()
            return
        if self._work != (stage, unit, total) or done < self._bar.n:
            self.close()
            self._work, self._started = (stage, unit, total), time.monotonic()
            self._bar = self._class(
                desc=f"{stage:<10}", total=total, initial=done, unit=f" {unit}", leave=False, **_size()
            )
        elif time.monotonic() - self._started < _WARM_UP_SECONDS:
            self._bar.initial = done
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar = self._work = None


class Pace:
    """Speed of the current work, over the last few reports.

    Timing starts one second after the first report, as what is done until then was resumed.
    """

    def __init__(self) -> None:
        self._work: tuple[str, str] | None = None
        self._points: deque[tuple[float, int]] = deque(maxlen=_POINTS)  # (time, number done)
        self.started = 0.0

    def goes_on(self, stage: str, done: int, unit: str) -> bool:
        """Note a report; False while the work is in its first second."""
        now = time.monotonic()
        if self._work != (stage, unit) or done < self._points[-1][1]:
            self._work, self.started = (stage, unit), now
        if now - self.started < _WARM_UP_SECONDS:
            self._points.clear()
            self._points.append((now, done))
            return False
        return True

    @property
    def silence(self) -> float:
        """Seconds since the last call of `rate`."""
        return time.monotonic() - self._points[-1][0]

    def rate(self, done: int) -> float:
        """Items per second."""
        now = time.monotonic()
        then, done_then = self._points[0]
        self._points.append((now, done))
        return (done - done_then) / max(now - then, 1e-9)


class LogLines:
    """Logs a line every ten seconds, and one when all is done: number done, recent speed, time left."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._is_done = False

    def __call__(self, stage: str, done: int, total: int, unit: str) -> None:
        was_done, self._is_done = self._is_done, done >= total
        if not self._pace.goes_on(stage, done, unit) or (was_done and self._is_done):
            return
        if done < total and self._pace.silence < _EVERY_SECONDS:
            return
        rate = self._pace.rate(done)
        left = "" if done >= total else f", {duration((total - done) / rate)} left" if rate > 0 else ""
        if done < total or time.monotonic() - self._pace.started > _EVERY_SECONDS:
            logger.info("%-10s %s", stage, f"{done:,} of {total:,} {unit}, {rate:,.3g} a second{left}")

    def close(self) -> None:
        """Do nothing; `Bar` has it too."""


def _is_watched() -> bool:
    """True in a terminal and in a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel") or (sys.stderr is not None and sys.stderr.isatty())


def _size() -> dict[str, int]:
    """The terminal's size, passed explicitly because tqdm believes terminals that report 0 columns."""
    columns, lines = get_terminal_size()
    return {"ncols": columns, "nrows": lines} if sys.stderr.isatty() else {}


def _bar_class() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in a notebook without widgets tqdm falls back to text
        from tqdm.auto import tqdm
    return tqdm


def duration(seconds: float) -> str:
    """Format seconds as `4.2s`, `2m 10s` or `1h 05m`."""
    if seconds < 59.5:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest:02d}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02d}m"
