"""Child processes forked from one that has already imported the libraries of a run, which saves seconds each time."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["acclimate.cli.main", "bm25s", "sentence_transformers", "transformers.models.bert.modeling_bert"]
)


def start(
    target: Callable[..., Any], *arguments: Any, log: Path, environment: Mapping[str, str] | None = None
) -> ForkServerProcess:
    """`target(*arguments)` in a new process. Its stdout goes to the file LOG.out, its stderr to `log`."""
    log.touch()
    process = _CONTEXT.Process(target=_run, args=(target, arguments, log, dict(environment or {})), daemon=True)
    process.start()
    return process


def _run(target: Callable[..., Any], arguments: tuple[Any, ...], log: Path, environment: dict[str, str]) -> None:
    for number, path in ((1, Path(f"{log}.out")), (2, log)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a foreground program
    os.environ |= environment
    target(*arguments)


def end(process: ForkServerProcess, seconds: float = 300) -> int | None:
    """Wait for a process to end; returns its exit code. One that does not end writes its stacks to its log: None."""
    process.join(seconds)
    code = process.exitcode
    if code is None and process.pid is not None:
        os.kill(process.pid, signal.SIGABRT)
        process.join(10)
    process.kill()
    return code


class Elsewhere:
    """Cluster workers simulated in this process; everything passed is pickled, as on a cluster."""

    def __init__(self) -> None:
        self.n_units = 0

    def results(self, make: Callable[[], Any], work: Callable[[Any, Any], Any], units: Iterable[Any]) -> Iterator[Any]:
        tool = _pickled(make)()
        for unit in units:
            self.n_units += 1
            yield _pickled(_pickled(work)(tool, _pickled(unit)))


def _pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))
