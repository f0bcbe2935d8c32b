"""Work on the host that is done ahead of what reads it, while something else computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_MOST = 2  # results that wait to be read


def ahead(thread: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`work` of each item, in order, begun before it is asked for.

    thread: of one worker, which all who share something that takes one at a time (a tokenizer, say) can share, too.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(thread.submit(work, item))
            if len(waiting) > _MOST:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
