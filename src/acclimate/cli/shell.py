"""The shell that a command runs in: what of it libraries stumble over is put right, or told."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from acclimate.base.domains import Between
from acclimate.base.errors import SettingError
from acclimate.base.secrets import redacted
from acclimate.base.text import on_one_line, shortened

_QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
_WIDTHS = Between(20, 1000)


def prepare() -> None:
    """Libraries are quiet, and a terminal of any kind can show what is printed."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)  # what it says of our models, we know
    if os.environ.get("COLUMNS", "80") not in _WIDTHS:  # help would be laid out for ever
        del os.environ["COLUMNS"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a shell that is not UTF-8 gets what it can show


def check_folder() -> None:
    """Raises SettingError where the folder that the command was started in has been removed."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise SettingError("the current folder no longer exists; change to another one") from None


def say(message: str) -> None:
    """A line on stderr."""
    print(f"acclimate: {shortened(redacted(on_one_line(message)))}", file=sys.stderr)


@contextmanager
def log_on_stderr() -> Iterator[None]:
    """Within it, what acclimate logs is a line each on stderr."""
    logger, handler = logging.getLogger("acclimate"), _Lines(logging.INFO)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Lines(logging.Handler):
    """Lines on stderr as it is now; a bar that is there makes room for them."""

    def emit(self, record: logging.LogRecord) -> None:
        bars = sys.modules.get("tqdm")
        with bars.tqdm.external_write_mode(sys.stderr) if bars else nullcontext():
            print(record.getMessage(), file=sys.stderr, flush=True)
