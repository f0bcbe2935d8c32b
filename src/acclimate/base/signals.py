"""How a program ends that is interrupted or terminated: with a line and no traceback, from the first import on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM. What is under way ends as it does at Ctrl-C."""


def run(main: Callable[[], int]) -> NoReturn:
    """End the program with the exit code of `main`. A signal that the program was started without stays so."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        code = main()
    except KeyboardInterrupt as stop:
        code = stopped(stop)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a second one would only interrupt the end
    sys.exit(code)


def stopped(stop: KeyboardInterrupt) -> int:
    """Say how it ended; returns the exit code."""
    what, code = ("terminated", 143) if isinstance(stop, Terminated) else ("interrupted", 130)
    print(f"\nacclimate: {what}; what is made is kept, and the same command goes on", file=sys.stderr)
    return code


def _terminate(*_: object) -> NoReturn:
    raise Terminated
