"""Several processes of one run, as `torchrun` and `accelerate launch` start them: one does everything, all train.

The first process works through the stages as if it were alone; the others join it where a model is trained, each on a
GPU and on a share of every batch, and else wait. Nothing here does anything in a run of one process.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from acclimate.base.text import on_one_line

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("acclimate")

T = TypeVar("T")
_PATIENCE = timedelta(days=30)  # stages of the first process may take that long


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
    """The same for what a person should know before going on."""
    if is_main():
        logger.warning("%-10s warning: %s", what, on_one_line(text))


def join() -> None:
    """Meet the other processes; each takes a GPU of its own where there are any."""
    import torch
    from torch import distributed

    if size() == 1 or distributed.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=_PATIENCE)


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
    distributed.broadcast_object_list(values, src=0)
    return values[0]


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
            distributed.all_reduce(weight.grad)
