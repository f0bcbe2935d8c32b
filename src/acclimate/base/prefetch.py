"""Prefetching: a thread on the host prepares the next items while the current one is computed on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_MAX_PENDING = 2  # results prepared but not yet read


def prefetch(thread: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `work(item)` for each item in order, computed ahead of time on `thread`.

    thread: an executor with one worker. Callers that share something which is not thread-safe (a tokenizer, say)
    should share the executor too.
    """
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(thread.submit(work, item))
            if len(pending) > _MAX_PENDING:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
