"""`status.json` and `run.log`: the current state of a run and all its messages, for users without its terminal.

No stage reads them, so they do not affect results.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acclimate.base import distributed, signals
from acclimate.base.domains import MOST
from acclimate.base.errors import AcclimateError, BatchWritten, BudgetExceeded, DataError
from acclimate.base.files import read_json, write_json
from acclimate.base.progress import Pace, also
from acclimate.base.secrets import redacted
from acclimate.base.text import on_one_line

NAME, LOG = "status.json", "run.log"
STATES = WORKS, FINISHED, STOPPED, FAILED = "works", "finished", "stopped", "failed"
_FIELDS = {  # with their valid types
    **dict.fromkeys(("state", "stage", "unit", "message", "host", "started", "updated"), (str,)),
    **dict.fromkeys(("done", "total", "pid"), (int,)),
    "seconds_left": (int, float, type(None)),
}
_EVERY_SECONDS = 2.0


@contextmanager
def recording(folder: Path) -> Iterator[None]:
    """Context in which this process records the status and log of the run in `folder`."""
    if not distributed.is_main():
        yield
        return
    status = _Status(folder / NAME)
    logger, handler = logging.getLogger("acclimate"), _log(folder / LOG)
    logger.addHandler(handler)
    try:
        with also(status), signals.not_hidden():
            yield
    except (BatchWritten, BudgetExceeded) as error:
        status.ends(STOPPED, str(error))
        raise
    except AcclimateError as error:
        status.ends(FAILED, str(error))
        raise
    except KeyboardInterrupt:
        status.ends(STOPPED, "interrupted")
        raise
    except BaseException as error:
        status.ends(FAILED, f"{type(error).__name__}: {error}")
        raise
    else:
        status.ends(FINISHED)
    finally:
        logger.removeHandler(handler)
        handler.close()


def read(folder: Path) -> dict[str, Any] | None:
    """The recorded status; None if there is none, or it is invalid."""
    try:
        status = read_json(folder / NAME)
    except (OSError, DataError):
        return None
    if not isinstance(status, dict) or not status.keys() >= _FIELDS.keys():
        return None
    if any(not isinstance(status[name], kinds) for name, kinds in _FIELDS.items()):
        return None
    return status if status["state"] in STATES and 0 <= (status["seconds_left"] or 0) < MOST else None


class _Status:
    """Receives progress, and records it at intervals."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pace = Pace()
        self._written = 0.0
        self._row: dict[str, Any] = {
            "state": WORKS,
            "stage": "",
            "done": 0,
            "total": 0,
            "unit": "",
            "seconds_left": None,
            "message": "",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _now(),
        }
        self._write()

    def __call__(self, stage: str, done: int, total: int, unit: str) -> None:
        goes_on = self._pace.goes_on(stage, done, unit)
        if stage == self._row["stage"] and time.monotonic() - self._written < _EVERY_SECONDS:
            return
        rate = self._pace.rate(done) if goes_on else 0.0
        left = round((total - done) / rate, 1) if rate > 0 else None
        self._row |= {"stage": stage, "done": done, "total": total, "unit": unit, "seconds_left": left}
        self._write()

    def ends(self, state: str, message: str = "") -> None:
        """Record how the run ended."""
        self._row |= {"state": state, "message": redacted(on_one_line(message)), "seconds_left": None}
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        try:
            write_json(self.path, {**self._row, "updated": _now()})
        except (AcclimateError, OSError):  # on a full disk the work itself will fail with a better message
            return


class _Lines(logging.Formatter):
    """`2026-05-01T12:00:00Z generate   ...`"""

    def format(self, record: logging.LogRecord) -> str:
        return f"{_now()} {redacted(on_one_line(record.getMessage()))}"


def _log(path: Path) -> logging.Handler:
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace", delay=True)
    handler.setFormatter(_Lines())
    handler.handleError = lambda record: None  # ignored, as above
    return handler


def _now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
