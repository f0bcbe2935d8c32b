"""A processor's cores, each with work of its own.

One product of a few hundred rows is too small to be divided among cores: their threads would wait for one another at
every step of a model, which gains little on idle cores; and where one of them is busy with something else, all wait
for that, spinning, which took fifty times as long. So where no gradients are computed each core reads a batch by
itself, and what comes out is the same, to the last bit, on any number of them. Queries of wide models, and LLMs that
are wide or run through transformers, have all cores for one batch.
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
_WORTH_DIVIDING = 1024  # numbers per token, from which on a model's products for a few texts are
_EVERY = 0.2  # seconds, who waits for others does something meanwhile
_AHEAD = 1  # items for each core that wait, begun or done, to be asked for

_within = threading.local()


def count() -> int:
    """How many cores there are for batches: the threads that torch would use (OMP_NUM_THREADS says how many); one where
    a GPU computes, and within the work of one of them."""
    if models.device() != "cpu" or getattr(_within, "alone", False):
        return 1
    import torch

    return torch.get_num_threads()


def are_apart(width: int) -> bool:
    """Whether a model of so many numbers per token reads a few texts on one core, as others may read more beside it."""
    return models.device() == "cpu" and width < _WORTH_DIVIDING


@contextmanager
def alone(width: int = 0) -> Iterator[None]:
    """Within, this thread computes on one core; on all of them with a model so wide that it is worth it."""
    if not are_apart(width) or count() == 1:
        yield
        return
    import torch

    n_threads = torch.get_num_threads()
    _have(1)
    _within.alone = True
    try:
        yield
    finally:
        _within.alone = False
        _have(n_threads)


def side_by_side(
    work: Callable[[T], R],
    items: Iterable[T],
    most: int | None = None,
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[R]:
    """`work` of each item, in order, on several cores at once; on this one alone where there is one item.

    items: read little further than they are worked on, by this thread. most: items at once; None: one a core. `work`
    is called in other threads, which share whatever it works with. meanwhile: called by this one every now and then,
    as long as it waits for them.
    """
    n_threads = count()
    n_cores = min(n_threads, most or n_threads)
    items = iter(items)
    first = list(islice(items, 2))
    if n_cores == 1 or len(first) < 2:
        for item in chain(first, items):
            with alone():
                result = work(item)
            yield result
        return
    waiting, is_over = deque[Future[R]](), threading.Event()
    try:
        with ThreadPoolExecutor(n_cores, "core", _begin, (is_over,)) as cores:
            try:
                for item in chain(first, items):
                    waiting.append(cores.submit(work, item))
                    if len(waiting) > (1 + _AHEAD) * n_cores:
                        yield _result(waiting.popleft(), meanwhile)
                while waiting:
                    yield _result(waiting.popleft(), meanwhile)
            finally:
                is_over.set()
                for future in waiting:
                    future.cancel()
    finally:
        _have(n_threads)  # a part of what a thread sets is the whole program's


def _result(future: Future[R], meanwhile: Callable[[], None]) -> R:
    while not wait([future], timeout=_EVERY).done:
        meanwhile()
    return future.result()


class _Unwanted(Exception):
    """Nobody waits for the result any more."""


def go_on() -> None:
    """To be called within long work now and then: it ends there when a program is stopped that waits for it."""
    if (is_over := getattr(_within, "is_over", None)) is not None and is_over.is_set():
        raise _Unwanted


def _begin(is_over: threading.Event | None = None) -> None:
    """A thread of one core."""
    _have(1)
    _within.alone = True
    _within.is_over = is_over


def _have(n_threads: int) -> None:
    import torch

    torch.set_num_threads(n_threads)
