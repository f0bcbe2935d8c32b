"""How a program ends that is interrupted or terminated: with a line and no traceback, from the first import on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

TERMINATE = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Terminated(KeyboardInterrupt):
    """SIGTERM, or SIGHUP, as of a terminal that was closed. What is under way ends as it does at Ctrl-C."""

    def __init__(self, number: int) -> None:
        self.number = number


def run(main: Callable[[], int]) -> NoReturn:
    """End the program with the exit code of `main`. A signal that the program was started without stays so."""
    for number in TERMINATE:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)
    try:
        code = main()
    except KeyboardInterrupt as stop:
        code = stopped(stop)
    for number in (signal.SIGINT, *TERMINATE):
        signal.signal(number, signal.SIG_IGN)  # a second one would only interrupt the end
    sys.exit(code)


def stopped(stop: KeyboardInterrupt) -> int:
    """Say how it ended; returns the exit code."""
    what, number = ("terminated", stop.number) if isinstance(stop, Terminated) else ("interrupted", signal.SIGINT)
    with suppress(OSError):  # of a terminal that is not there any more
        print(f"\nacclimate: {what}; what is made is kept, and the same command goes on", file=sys.stderr)
    return 128 + number


def _terminate(number: int, _: object) -> NoReturn:
    raise Terminated(number)
