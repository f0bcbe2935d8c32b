"""Parallel inference on CPU cores: each core processes its own batch.

A matrix product of a few hundred rows is too small to split among cores: the threads synchronise at every step of the
model, which gains little when all cores are idle and was 50 times slower when one was busy, as the others spin. So
without gradients each core processes a whole batch; results are bit-identical for any number of cores. Queries of
wide models, and LLMs that are wide or run through transformers, use all cores for one batch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import chain, islice
from typing import TypeVar

from acclimate.base import models

T = TypeVar("T")
R = TypeVar("R")
_MIN_WIDTH_TO_SPLIT = 1024  # hidden size from which even the products of a few texts gain from several cores
_POLL_SECONDS = 0.2  # how often `meanwhile` is called while waiting for results
_ITEMS_AHEAD = 1  # items queued per core beyond the one being processed

_thread = threading.local()


def count() -> int:
    """How many batches can be processed at once: torch's number of threads (set by OMP_NUM_THREADS); 1 with a GPU and
    inside `single_core`."""
    if models.device() != "cpu" or getattr(_thread, "is_single_core", False):
        return 1
    import torch

    return torch.get_num_threads()


def uses_single_core(width: int) -> bool:
    """True if a model of this hidden size processes a few texts best on one core, leaving the other cores free."""
    return models.device() == "cpu" and width < _MIN_WIDTH_TO_SPLIT


@contextmanager
def single_core(width: int = 0) -> Iterator[None]:
    """Restrict this thread to one core, unless the model's hidden size makes all cores worthwhile."""
    if not uses_single_core(width) or count() == 1:
        yield
        return
    import torch

    n_threads = torch.get_num_threads()
    _set_num_threads(1)
    _thread.is_single_core = True
    try:
        yield
    finally:
        _thread.is_single_core = False
        _set_num_threads(n_threads)


def parallel_map(
    work: Callable[[T], R],
    items: Iterable[T],
    limit: int | None = None,
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[R]:
    """Yield `work(item)` for each item in order, computed on several cores at once (in this thread for one item).

    items: read by this thread, only a little ahead of the work. limit: items at once; None: one per core. `work` runs
    in other threads, so whatever it uses must be thread-safe. meanwhile: called by this thread every 0.2 seconds while
    it waits.
    """
    n_threads = count()
    n_cores = min(n_threads, limit or n_threads)
    items = iter(items)
    first = list(islice(items, 2))
    if n_cores == 1 or len(first) < 2:
        for item in chain(first, items):
            with single_core():
                result = work(item)
            yield result
        return
    pending, cancelled = deque[Future[R]](), threading.Event()
    try:
        with ThreadPoolExecutor(n_cores, "core", _start_thread, (cancelled,)) as threads:
            try:
                for item in chain(first, items):
                    pending.append(threads.submit(work, item))
                    if len(pending) > (1 + _ITEMS_AHEAD) * n_cores:
                        yield _result(pending.popleft(), meanwhile)
                while pending:
                    yield _result(pending.popleft(), meanwhile)
            finally:
                cancelled.set()
                for future in pending:
                    future.cancel()
    finally:
        _set_num_threads(n_threads)  # the threads' setting leaks partly into the whole process


def _result(future: Future[R], meanwhile: Callable[[], None]) -> R:
    while not wait([future], timeout=_POLL_SECONDS).done:
        meanwhile()
    return future.result()


class _Cancelled(Exception):
    """The caller no longer waits for the result."""


def check_cancelled() -> None:
    """Stop the work of this thread if its caller was stopped; long work calls it every now and then."""
    if (cancelled := getattr(_thread, "cancelled", None)) is not None and cancelled.is_set():
        raise _Cancelled


def _start_thread(cancelled: threading.Event) -> None:
    _set_num_threads(1)
    _thread.is_single_core = True
    _thread.cancelled = cancelled


def _set_num_threads(n_threads: int) -> None:
    import torch

    torch.set_num_threads(n_threads)
