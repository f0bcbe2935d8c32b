"""Runs of several processes, as started by `torchrun` and `accelerate launch`: the first leads, the others help.

The first process runs the stages as if it were alone. The others join it for training, each with its own GPU and share
of every batch; otherwise they wait for units of work from it (`shared`), whose results only it stores, in its own
order. Workers of a Ray cluster do the same (`ray_cluster`). In a run of one process nothing here has any effect.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from acclimate.base import ranks, signals
from acclimate.base.errors import AcclimateError, SettingError
from acclimate.base.ranks import is_main, rank, size
from acclimate.base.text import counted, on_one_line

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("acclimate")

T = TypeVar("T")
Tool = TypeVar("Tool")
Unit = TypeVar("Unit")
_PATIENCE = 10  # seconds until a process that waits for the others to start says so
_TIMEOUT = timedelta(days=30)  # longer than any stage of the first process
_n_helpers = 0  # processes that wait in `help_first`
_workers: Workers | None = None  # of a cluster


def say(what: str, text: str) -> None:
    """Log a line about a stage, or whatever `what` names; only in the first process."""
    if is_main():
        logger.info("%-10s %s", what, on_one_line(text))


def warn(what: str, text: str) -> None:
    """Log a warning that the user should know before going on; only in the first process."""
    if is_main():
        logger.warning("%-10s warning: %s", what, on_one_line(text))


def take_gpu() -> None:
    """Select this process's own GPU, if the machine has any.

    Call it before loading a model, which stays on the GPU it was loaded to. Raises SettingError if there are more
    processes than GPUs, or fewer than this one's number says.
    """
    if size() == 1:
        return
    ranks.check()
    import torch

    number, n_gpus = ranks.number("LOCAL_RANK", 0), torch.cuda.device_count()
    if 0 < n_gpus <= number:
        raise SettingError(
            f"this is process {number + 1} of a machine with {counted(n_gpus, 'GPU')}, and each computes on one of its "
            f"own; start {n_gpus} at most (torchrun --nproc-per-node {n_gpus})"
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(number)


def join() -> None:
    """Initialize the process group, unless that is done or there is one process."""
    import torch.distributed

    if size() == 1 or torch.distributed.is_initialized():
        return
    take_gpu()
    if "MASTER_ADDR" not in os.environ:
        raise SettingError(f"WORLD_SIZE is {size()} without MASTER_ADDR; start with torchrun, or unset WORLD_SIZE")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    where = f"{os.environ['MASTER_ADDR']}:{os.environ.get('MASTER_PORT', '')}"
    text = "process %d of %d waits at %s for the others; start them, or unset WORLD_SIZE"
    note = threading.Timer(_PATIENCE, logger.info, (text, rank() + 1, size(), where))
    note.start()
    try:
        with signals.at_once():
            torch.distributed.init_process_group(backend, timeout=_TIMEOUT)
    finally:
        note.cancel()


def leave() -> None:
    """Destroy the process group at the end."""
    if size() > 1:
        from torch import distributed

        if distributed.is_initialized():
            time.sleep(0.05)  # torch 2.6 waits for gloo's threads with the GIL, which they need to free a last tensor
            distributed.destroy_process_group()


def broadcast(value: T) -> T:
    """Send the first process's value to all processes; returns it in each, blocking until it arrives."""
    if size() == 1:
        return value
    from torch import distributed

    join()
    values: list[Any] = [value]
    with peer_errors():
        distributed.broadcast_object_list(values, src=0)
    return values[0]


class _Task(NamedTuple):
    """Units of work, at most one for each process; `make` creates the tool that `work` needs."""

    make: Callable[[], Any]
    work: Callable[[Any, Any], Any]
    units: Sequence[Any]


@contextmanager
def helped() -> Iterator[None]:
    """Let the other processes, which are in `help_first`, take part in `shared` work."""
    global _n_helpers
    _n_helpers = size() - 1
    try:
        yield
    finally:
        _n_helpers = 0


class Workers(Protocol):
    """Workers of a cluster that do units of work for this process."""

    def results(self, make: Callable[[], Tool], work: Callable[[Tool, Unit], T], units: Iterable[Unit]) -> Iterator[T]:
        """Yield `work(tool, unit)` for each unit in order; each worker creates its tool by `make()`."""
        ...


@contextmanager
def using_workers(workers: Workers) -> Iterator[None]:
    """Do `shared` work on the workers of a cluster."""
    global _workers
    _workers = workers
    try:
        yield
    finally:
        _workers = None


def is_shared() -> bool:
    """True if other processes or workers take part in `shared` work."""
    return bool(_n_helpers or _workers)


def shared(
    tool: Tool,
    make: Callable[[], Tool],
    work: Callable[[Tool, Unit], T],
    units: Iterable[Unit],
    *,
    cores: int | None = 1,
) -> Iterator[T]:
    """Yield `work(tool, unit)` for each unit in order, distributed over the run's processes or cluster workers.

    A single unit is done in this process.

    tool: what `work` needs, usually a model. make: creates the same tool in another process, which keeps it until a
    different `make` arrives. `make`, `work`, units and results are pickled. units: read only a little ahead of the
    work. cores: how many units a process without helpers does at once with its one tool; None: one per core. Raises
    AcclimateError for an exception in another process.
    """
    if not is_shared():
        if cores == 1:
            return (work(tool, unit) for unit in units)
        from acclimate.base.cores import parallel_map

        return parallel_map(lambda unit: work(tool, unit), units, cores)
    return (_by_workers if _workers else _with_helpers)(tool, make, work, iter(units))


def _by_workers(
    tool: Tool, make: Callable[[], Tool], work: Callable[[Tool, Unit], T], units: Iterator[Unit]
) -> Iterator[T]:
    assert _workers is not None
    first = list(islice(units, 2))
    if len(first) < 2:
        yield from (work(tool, unit) for unit in first)
    else:
        yield from _workers.results(make, work, chain(first, units))


def _with_helpers(
    tool: Tool, make: Callable[[], Tool], work: Callable[[Tool, Unit], T], units: Iterator[Unit]
) -> Iterator[T]:
    while group := list(islice(units, 1 + _n_helpers)):
        task = _Task(make, work, group)
        if len(task.units) == 1:
            yield work(tool, task.units[0])
            continue
        broadcast(task)
        try:
            results = [work(tool, task.units[0])]
        except Exception:
            _gather(None)  # the helpers would block for ever
            raise
        others = _gather(None)[1 : len(task.units)]
        for number, (result, problem) in enumerate(others, 1):
            if problem is not None:
                raise AcclimateError(f"process {number} of this run: {problem}")
            results.append(result)
        yield from results


def help_first() -> None:
    """Do units of work for the first process until it ends the phase by `broadcast(None)`."""
    helper = Helper()
    while isinstance(task := broadcast(None), _Task):
        is_needed = rank() < len(task.units)
        _gather(helper.do(task.make, task.work, task.units[rank()]) if is_needed else (None, None))


class Helper:
    """Does units of work for another process; keeps the tool until a different one is needed."""

    def __init__(self) -> None:
        self._tool: Any = None
        self._pickled_make = b""

    def do(self, make: Callable[[], Tool], work: Callable[[Tool, Unit], T], unit: Unit) -> tuple[T | None, str | None]:
        """Return (result, None), or (None, error message)."""
        try:
            if self._tool is None or self._pickled_make != pickle.dumps(make):
                self._tool, self._pickled_make = None, pickle.dumps(make)  # memory may not hold two tools
                self._tool = make()
            return work(self._tool, unit), None
        except Exception as error:  # reported by the first process
            logger.debug("process %d", rank(), exc_info=True)
            return None, str(error) or type(error).__name__


def _gather(value: Any) -> list[Any]:
    """Collect the values of all processes: a list by rank in the first process, [] in the others."""
    from torch import distributed

    values: list[Any] = [None] * size() if is_main() else []
    with peer_errors():
        distributed.gather_object(value, values or None, dst=0)
    return values


@contextmanager
def peer_errors(only: str = "") -> Iterator[None]:
    """Raise AcclimateError if another process has ended (it has logged why).

    only: pattern of the errors that mean this, around work that also fails by itself.
    """
    try:
        yield
    except RuntimeError as error:
        if not re.search(only, str(error)):
            raise
        raise AcclimateError(
            "another process of this run has ended; completed work is kept; run the same command again to resume"
        ) from error


def main_first(work: Callable[[], T]) -> T:
    """Call `work` in the first process, then in the others, which find the files it has written."""
    if is_main():
        result = work()
        broadcast(None)
        return result
    broadcast(None)
    return work()


def share(batch: list[T]) -> list[T]:
    """This process's part of a batch."""
    return batch[rank() :: size()]


def sum_gradients(weights: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its sum over all processes; a missing one counts as zeros."""
    if size() == 1:
        return
    import torch.distributed

    join()
    for weight in (weight for weight in weights if weight.requires_grad):
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        with peer_errors():
            torch.distributed.all_reduce(weight.grad)
