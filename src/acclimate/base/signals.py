"""Signals: an interrupted or terminated command ends with one line and no traceback, even during imports."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

TERMINATE = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, and on SIGHUP (a closed terminal); handled like Ctrl-C."""

    def __init__(self, number: int) -> None:
        self.number = number


def run(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit with its code. Signals that were ignored at the start stay ignored."""
    for number in TERMINATE:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)
    try:
        code = main()
    except KeyboardInterrupt as stop:
        code = stopped(stop)
    for number in (signal.SIGINT, *TERMINATE):
        signal.signal(number, signal.SIG_IGN)  # a second signal would only disturb the shutdown
    sys.exit(code)


@contextmanager
def not_hidden() -> Iterator[None]:
    """Raise an interrupt in place of the RuntimeError that hides it.

    A second signal, while a lock is taken again because of the first, leaves the lock free: to release it is an error.
    """
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, KeyboardInterrupt):
            cause = cause.__context__
        if cause is not None:
            raise cause from None
        raise


def stopped(stop: KeyboardInterrupt) -> int:
    """Print that the program was stopped; return the exit code."""
    what, number = ("terminated", stop.number) if isinstance(stop, Terminated) else ("interrupted", signal.SIGINT)
    with suppress(OSError):  # the terminal may be gone
        print(f"\nacclimate: {what}; completed work is kept; run the same command again to resume", file=sys.stderr)
    return 128 + number


@contextmanager
def at_once() -> Iterator[None]:
    """Let signals end the process at once: compiled code that waits lets Python handle none of them."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *TERMINATE)}
    heeded = {number: handler for number, handler in handlers.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread():
        heeded = {}  # only the main thread may choose what signals do
    for number in heeded:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)


def _terminate(number: int, _: object) -> NoReturn:
    raise Terminated(number)
