"""Several processes of one run, as `torchrun` and `accelerate launch` start them: one does everything, all help.

The first process works through the stages as if it were alone; the others join it where a model is trained, each on a
GPU and on a share of every batch. Else they wait, and do what it shares out: units of work that it would do one after
the other, whose results it alone keeps, in its own order. So do the workers of a cluster, see `ray_cluster`. Nothing
here does anything in a run of one process.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from acclimate.base.errors import AcclimateError, SettingError
from acclimate.base.text import on_one_line

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("acclimate")

T = TypeVar("T")
Tool = TypeVar("Tool")
Unit = TypeVar("Unit")
_PATIENCE = timedelta(days=30)  # stages of the first process may take that long
_helpers = 0  # processes that wait for the first one's work
_workers: Workers | None = None  # of a cluster


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is the process that does everything but training alone."""
    return rank() == 0


def say(what: str, text: str) -> None:
    """A line in the log on a stage, or on what else it is about; only the first process says it."""
    if is_main():
        logger.info("%-10s %s", what, on_one_line(text))


def warn(what: str, text: str) -> None:
    """A warning in the log, of what a person should know before going on; only the first process gives it."""
    if is_main():
        logger.warning("%-10s warning: %s", what, on_one_line(text))


def take_gpu() -> None:
    """Compute on a GPU of this process' own, one of several on a machine that has any.

    To be called before a model is loaded, which stays on the GPU that it was loaded to. Raises SettingError where there
    are more processes than GPUs.
    """
    if size() == 1:
        return
    import torch

    number, n_gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if 0 < n_gpus <= number:
        raise SettingError(
            f"this is process {number + 1} of a machine with {n_gpus} GPUs, and each computes on one of its own; start "
            f"{n_gpus} at most (torchrun --nproc-per-node {n_gpus})"
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(number)


def join() -> None:
    """Meet the other processes."""
    import torch
    from torch import distributed

    if size() == 1 or distributed.is_initialized():
        return
    take_gpu()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)


def leave() -> None:
    """Part from the others at the end."""
    if size() > 1:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()


def broadcast(value: T) -> T:
    """The first process' value, for all of them; none goes on before it has it."""
    if size() == 1:
        return value
    from torch import distributed

    join()
    values: list[Any] = [value]
    with _all_there():
        distributed.broadcast_object_list(values, src=0)
    return values[0]


class _Task(NamedTuple):
    """Units of work, one for each process at most; `make` makes the tool that they take."""

    make: Callable[[], Any]
    work: Callable[[Any, Any], Any]
    units: Sequence[Any]


@contextmanager
def helped() -> Iterator[None]:
    """Within, the others are in `help_first`, and `shared` work is theirs, too."""
    global _helpers
    _helpers = size() - 1
    try:
        yield
    finally:
        _helpers = 0


class Workers(Protocol):
    """The processes of a cluster that do units of work for this one."""

    def results(self, make: Callable[[], Tool], work: Callable[[Tool, Unit], T], units: Iterable[Unit]) -> Iterator[T]:
        """`work(tool, unit)` of each unit, in order, with tools that `make` makes there."""
        ...


@contextmanager
def helped_by(workers: Workers) -> Iterator[None]:
    """Within, `shared` work is that of a cluster's workers."""
    global _workers
    _workers = workers
    try:
        yield
    finally:
        _workers = None


def is_shared() -> bool:
    """Whether `shared` work is done by others, too."""
    return bool(_helpers or _workers)


def shared(
    tool: Tool,
    make: Callable[[], Tool],
    work: Callable[[Tool, Unit], T],
    units: Iterable[Unit],
    *,
    cores: int | None = 1,
) -> Iterator[T]:
    """`work(tool, unit)` of each unit, in order; those of as many as there are processes, or workers, together.

    One unit alone is not shared: who asks for no more waits for it.

    make: what makes the same tool in another process, which keeps it until the next one. It, `work`, units and results
    are pickled. units: read no further ahead than they are worked on. cores: of a processor, on which a process that
    shares with no other does as many units at once, with one tool; None: all of them. Raises AcclimateError for what
    went wrong in another process.
    """
    if not is_shared():
        if cores == 1:
            return (work(tool, unit) for unit in units)
        from acclimate.base.cores import side_by_side

        return side_by_side(lambda unit: work(tool, unit), units, cores)
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
    while group := list(islice(units, 1 + _helpers)):
        task = _Task(make, work, group)
        if len(task.units) == 1:
            yield work(tool, task.units[0])
            continue
        broadcast(task)
        try:
            results = [work(tool, task.units[0])]
        except Exception:
            _gathered(None)  # of the others, who would wait for ever
            raise
        others = _gathered(None)[1 : len(task.units)]
        for number, (result, problem) in enumerate(others, 1):
            if problem is not None:
                raise AcclimateError(f"process {number} of this run: {problem}")
            results.append(result)
        yield from results


def help_first() -> None:
    """Do the units of work that the first process shares out, until it is done with all that it does alone."""
    helper = Helper()
    while isinstance(task := broadcast(None), _Task):
        is_needed = rank() < len(task.units)
        _gathered(helper.do(task.make, task.work, task.units[rank()]) if is_needed else (None, None))


class Helper:
    """Does units of work for another process, and keeps the tool until they need another one."""

    def __init__(self) -> None:
        self._tool: Any = None
        self._made_by = b""

    def do(self, make: Callable[[], Tool], work: Callable[[Tool, Unit], T], unit: Unit) -> tuple[T | None, str | None]:
        """The result, and what went wrong."""
        try:
            if self._tool is None or self._made_by != pickle.dumps(make):
                self._tool, self._made_by = None, pickle.dumps(make)  # there may be no room for two
                self._tool = make()
            return work(self._tool, unit), None
        except Exception as error:  # the first process says it
            logger.debug("process %d", rank(), exc_info=True)
            return None, str(error) or type(error).__name__


def _gathered(value: Any) -> list[Any]:
    """The values of all processes, in the first one; nothing in others."""
    from torch import distributed

    values: list[Any] = [None] * size() if is_main() else []
    with _all_there():
        distributed.gather_object(value, values or None, dst=0)
    return values


@contextmanager
def _all_there() -> Iterator[None]:
    """Raises AcclimateError where another process has ended, which said why."""
    try:
        yield
    except RuntimeError as error:
        raise AcclimateError(
            "another process of this run has ended; what is made is kept, and the same command goes on"
        ) from error


def main_first(work: Callable[[], T]) -> T:
    """The result of `work`, done by the first process before the others, which then find its files."""
    if is_main():
        result = work()
        broadcast(None)
        return result
    broadcast(None)
    return work()


def share(batch: list[T]) -> list[T]:
    """The part of a batch that is this process' own."""
    return batch[rank() :: size()]


def sum_gradients(weights: Iterable[torch.nn.Parameter]) -> None:
    """Each gradient becomes the sum over all processes; one that got none counts as zeros."""
    if size() == 1:
        return
    import torch
    from torch import distributed

    join()
    for weight in weights:
        if weight.requires_grad:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            with _all_there():
                distributed.all_reduce(weight.grad)
