"""Environment of a command: quiet libraries, robust output streams, messages and log lines on stderr."""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from acclimate.base import cgroups, distributed, ranks
from acclimate.base.domains import Between
from acclimate.base.errors import SettingError
from acclimate.base.secrets import redacted
from acclimate.base.text import on_one_line, shortened

_QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
_WIDTHS = Between(20, 1000)


def prepare() -> None:
    """Silence libraries, keep them within a container's limits, and make output work in any terminal."""
    cgroups.limit_threads()
    if distributed.size() > 1:  # else accelerate starts a thread per core of the machine in each process
        os.environ.setdefault(cgroups.THREADS, str(cgroups.usable_cores()))
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)  # its warnings are about what we do on purpose
    if os.environ.get("COLUMNS", "80") not in _WIDTHS:  # laying out help would never end
        del os.environ["COLUMNS"]
    _allow_no_temporary_folder()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for terminals that are not UTF-8


def _allow_no_temporary_folder() -> None:
    """Let libraries be imported on a read-only file system: dill and torch need a folder then, though we use none."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = os.sep
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.sep)


def check_surroundings() -> None:
    """Raise SettingError if the current folder has been removed, names of files would be misread, and the like."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise SettingError("the current folder no longer exists; change to another one") from None
    if (encoding := sys.getfilesystemencoding()) != "utf-8":  # set by the locale, such as en_US without .UTF-8
        raise SettingError(
            f"names of files and arguments are {encoding} here; expected UTF-8. To set it, type: export PYTHONUTF8=1"
        )
    if sys.flags.optimize > 1:  # help would be empty, too
        raise SettingError(
            "Python drops docstrings here, and transformers reads its own; to keep them, start it without -OO, or "
            "type: unset PYTHONOPTIMIZE"
        )
    ranks.check()


def say(message: str) -> None:
    """Print a message as one line on stderr."""
    print(f"acclimate: {shortened(redacted(on_one_line(message)))}", file=sys.stderr)


@contextmanager
def log_on_stderr() -> Iterator[None]:
    """Print acclimate's log records as lines on stderr."""
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
    """Prints records to the current stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        bars = sys.modules.get("tqdm")
        with bars.tqdm.external_write_mode(sys.stderr) if bars else nullcontext():
            print(redacted(on_one_line(record.getMessage())), file=sys.stderr, flush=True)
