"""Batch sizes by token count, and halving of batches that do not fit into memory.

Results of a halved batch differ only by rounding, as they do between machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from acclimate.base import models
from acclimate.base.errors import OutOfMemory, is_out_of_memory
from acclimate.base.gpu import free_memory

TOKENS_AT_ONCE = 8192  # per batch, padding included
_TOKENS_ON_A_GPU = 65_536  # larger, as kernel launches cost time; halved where it does not fit
_TEXTS_AT_ONCE = 128  # smallest limit of texts per batch

T = TypeVar("T")
R = TypeVar("R")


class Halving:
    """Runs work on batches, halving those that do not fit into memory; remembers the size that did."""

    def __init__(self) -> None:
        self.max_size: int | None = None  # rows times longest row, known after the first out-of-memory error

    def __call__(
        self,
        work: Callable[[Sequence[T]], Iterable[R]],
        rows: Sequence[T],
        *,
        what: str,
        lengths: Sequence[int] = (),
        free_caches: Callable[[], bool] = lambda: False,
    ) -> list[R]:
        """`work(rows)`: one result per row, in order.

        what: names the work in `OutOfMemory`, raised if not even one row fits. lengths: of the rows, if they are padded
        to the longest one. free_caches: frees memory that the work can do without; returns whether there was any.
        """
        longest = max(lengths, default=1)
        room = len(rows) if self.max_size is None else max(1, self.max_size // longest)
        if len(rows) > room:
            parts = [slice(start, start + room) for start in range(0, len(rows), room)]
            return [
                result
                for part in parts
                for result in self(work, rows[part], what=what, lengths=lengths[part], free_caches=free_caches)
            ]
        try:
            return list(work(rows))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, whose traceback would keep the batch's memory alive.
        had_caches = free_caches()
        free_memory()
        if len(rows) == 1:
            if not had_caches:
                raise OutOfMemory(f"not enough memory for {what}")
            return self(work, rows, what=what, lengths=lengths)  # without free_caches: caches filled by now are its own
        self.max_size = max(1, len(rows) // 2) * longest
        return self(work, rows, what=what, lengths=lengths, free_caches=free_caches)


def tokens_at_once() -> int:
    """Tokens per batch at inference.

    Depends on the kind of device, not on free memory, as the composition of batches may change rounding.
    """
    return _TOKENS_ON_A_GPU if models.device() == "cuda" else TOKENS_AT_ONCE


def batches(lengths: Sequence[int], *, max_tokens: int) -> Iterator[list[int]]:
    """Group positions into batches by length, longest first, each of at most `max_tokens` tokens with padding; ties by
    position."""
    max_texts = max(_TEXTS_AT_ONCE, max_tokens // 64)
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if group and (len(group) >= max_texts or (len(group) + 1) * lengths[group[0]] > max_tokens):
            yield group
            group = []
        group.append(row)
    if group:
        yield group
