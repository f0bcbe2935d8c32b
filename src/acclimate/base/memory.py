"""How much is read at once, and in smaller parts where memory has no room for that.

Numbers stay those of another batch size: they differ in rounding, as they do between machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from acclimate.base import models
from acclimate.base.errors import OutOfMemory, is_out_of_memory
from acclimate.base.gpu import free_memory

TOKENS_AT_ONCE = 8192  # after padding
_ON_A_GPU = 65_536  # a smaller share of the time goes into calls; where memory has no room, they are halved
_TEXTS_AT_ONCE = 128  # at least

T = TypeVar("T")
R = TypeVar("R")


class Halving:
    """Does work on rows together, and in halves where memory has no room for them; it remembers how many had some."""

    def __init__(self) -> None:
        self.most: int | None = None  # rows times the longest one, once memory had no room for more

    def __call__(
        self,
        work: Callable[[Sequence[T]], Iterable[R]],
        rows: Sequence[T],
        *,
        what: str,
        lengths: Sequence[int] = (),
        spare: Callable[[], bool] = lambda: False,
    ) -> list[R]:
        """One result per row, in order.

        lengths: of the rows, where they are padded to the longest one. spare: gives back what work could do without,
        and tells whether there was any. what: it is that, for `OutOfMemory`, which has no room even for one row.
        """
        longest = max(lengths, default=1)
        room = len(rows) if self.most is None else max(1, self.most // longest)
        if len(rows) > room:
            parts = [slice(start, start + room) for start in range(0, len(rows), room)]
            return [
                result
                for part in parts
                for result in self(work, rows[part], what=what, lengths=lengths[part], spare=spare)
            ]
        try:
            return list(work(rows))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler: while an exception is being handled, its traceback holds on to the batch's memory.
        had_spare = spare()
        free_memory()
        if len(rows) == 1:
            if not had_spare:
                raise OutOfMemory(f"no room in memory for {what}")
            return self(work, rows, what=what, lengths=lengths)  # what it leaves by then is its own, and no spare
        self.most = max(1, len(rows) // 2) * longest
        return self(work, rows, what=what, lengths=lengths, spare=spare)


def tokens_at_once() -> int:
    """How many tokens are read together where no gradients are computed.

    Of the kind of device, not of the memory that is free: what shares a batch may move the rounding.
    """
    return _ON_A_GPU if models.device() == "cuda" else TOKENS_AT_ONCE


def batches(lengths: Sequence[int], *, max_tokens: int, max_texts: int | None = None) -> Iterator[list[int]]:
    """Positions grouped by length, longest first, each group at most `max_tokens` after padding; ties by position."""
    max_texts = max_texts or max(_TEXTS_AT_ONCE, max_tokens // 64)
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if group and (len(group) >= max_texts or (len(group) + 1) * lengths[group[0]] > max_tokens):
            yield group
            group = []
        group.append(row)
    if group:
        yield group
