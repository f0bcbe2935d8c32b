"""Standard streams that a batch system has closed, or that nobody reads any more."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress


def prepare() -> None:
    """Open closed standard streams on /dev/null, and let work go on when its log cannot be written.

    Otherwise messages would go to stdout, and what a library prints to stderr into the first file that is opened.
    """
    for number, mode in enumerate(("r", "w", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            stream = open(number, mode, closefd=False, encoding="utf-8")  # noqa: SIM115
            setattr(sys, ("stdin", "stdout", "stderr")[number], stream)
    log = open(2, "wb", closefd=False)  # noqa: SIM115
    sys.stderr = _Log(log, sys.stderr.encoding, "backslashreplace", line_buffering=True)


class _Log(io.TextIOWrapper):
    """A stream whose lines are lost when its reader has ended, its terminal is gone or its disk is full."""

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()
