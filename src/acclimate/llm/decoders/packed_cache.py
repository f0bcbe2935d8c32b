"""Key-value caches of a batch, in memory that is allocated once and written in place.

Shapes as in `packed.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.llm.decoders.cuda_graph import RecordedStep

FEWEST_ROWS, ROUND_COLUMNS = 8, 64  # rounding of shapes, so that most batches reuse a recorded one
KEPT_SHAPES = 2  # caches kept, each with a batch's keys and values


@dataclass
class Cache:
    """Keys and values so far. A prompt's columns: its tokens, a gap up to the longest prompt's end, its answer."""

    prefix: Tensor  # (L, 2, K, P, D)
    suffix: Tensor  # (L, 2, K, B, S, D)
    mask: Tensor  # (B, 1, 1, S): 0 for tokens, -inf elsewhere
    key_positions: Tensor  # (B, S): position of each column's token
    positions: Tensor  # (B,): next position
    column: Tensor  # (1,): next column
    tokens: Tensor  # (B,): next input
    advance: RecordedStep | None = None  # recorded step from `tokens` to logits; then tensors must not be replaced

    @property
    def shrinks(self) -> bool:
        """True if prompts can be removed."""
        return self.advance is None

    def keep(self, rows: Tensor) -> None:
        """Keep only the prompts `rows`."""
        self.suffix = self.suffix.index_select(3, rows)
        self.mask = self.mask[rows]
        self.key_positions = self.key_positions[rows]
        self.positions = self.positions[rows]


def empty(prefix: Tensor, rows: int, columns: int) -> Cache:
    """A cache for these numbers of prompts and columns after a prefix; zeros, since masked NaN would spread."""
    layers, two, heads, _, size = prefix.shape
    suffix = prefix.new_zeros(layers, two, heads, rows, columns, size)
    mask = prefix.new_full((rows, 1, 1, columns), float("-inf"))
    positions = torch.zeros(rows, dtype=torch.long, device=prefix.device)
    of_keys = positions.new_zeros(rows, columns)
    return Cache(prefix, suffix, mask, of_keys, positions, positions.new_zeros(1), torch.zeros_like(positions))


class FixedCaches:
    """Caches in few shapes, each with its step recorded once and reused by later batches.

    A cache may have more rows than prompts; the others compute values that are not read.
    """

    def __init__(self) -> None:
        self._caches: dict[tuple[int, int, int], Cache] = {}  # (rows, columns, prefix tokens) -> cache, in order of use

    def empty(self, prefix: Tensor, rows: int, columns: int, step: Callable[[Cache], Tensor]) -> Cache:
        """A cache with room for at least these prompts and columns, for one batch at a time.

        step: on a cache's tensors; always the same, and not stored, as that would create a reference cycle.
        """
        rows = max(FEWEST_ROWS, 1 << (rows - 1).bit_length())
        columns = -(-columns // ROUND_COLUMNS) * ROUND_COLUMNS
        shape = rows, columns, prefix.shape[3]
        cache = self._caches.pop(shape, None)
        if cache is None:
            while len(self._caches) >= KEPT_SHAPES:
                self._caches.pop(next(iter(self._caches))).advance = None  # refers to its cache
            cache = empty(prefix.clone(), rows, columns)
            cache.advance = RecordedStep(lambda: step(cache), prefix.device)
        self._caches[shape] = cache
        cache.prefix.copy_(prefix)
        cache.mask.fill_(float("-inf"))
        for tensor in (cache.suffix, cache.key_positions, cache.positions, cache.column, cache.tokens):
            tensor.zero_()
        return cache

    def forget(self) -> bool:
        """Release all caches; returns whether there were any."""
        had_any = bool(self._caches)
        for cache in self._caches.values():
            cache.advance = None
        self._caches.clear()
        return had_any
