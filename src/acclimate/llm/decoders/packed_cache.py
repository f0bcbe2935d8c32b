"""What a model remembers of a batch: keys and values, in memory that is allocated once and written in place.

Letters in shapes are those of `packed.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.llm.decoders.captured import Captured

FEWEST_ROWS, ROUND_COLUMNS = 8, 64  # of what is fixed: few shapes, so that most batches find theirs recorded
KEPT_SHAPES = 2  # each with the keys and values of a batch


@dataclass
class Cache:
    """Keys and values so far. Columns of a prompt: its tokens, a gap up to the longest prompt's end, its answer."""

    prefix: Tensor  # (L, 2, K, P, D)
    suffix: Tensor  # (L, 2, K, B, S, D)
    mask: Tensor  # (B, 1, 1, S): 0 where a key is a token, -inf elsewhere
    key_positions: Tensor  # (B, S): of the token that a column has or will have
    positions: Tensor  # (B,): of the next token
    column: Tensor  # (1,): of the next token
    tokens: Tensor  # (B,): to be read next
    advance: Captured | None = None  # reads `tokens` and gives the logits; then no tensor may be replaced

    @property
    def shrinks(self) -> bool:
        """Whether prompts can be forgotten."""
        return self.advance is None

    def keep(self, rows: Tensor) -> None:
        """Forget all prompts but `rows`."""
        self.suffix = self.suffix.index_select(3, rows)
        self.mask = self.mask[rows]
        self.key_positions = self.key_positions[rows]
        self.positions = self.positions[rows]


def empty(prefix: Tensor, rows: int, columns: int) -> Cache:
    """Room for so many prompts behind a prefix. What is hidden is 0: it would count for nothing, unless it were NaN."""
    layers, two, heads, _, size = prefix.shape
    suffix = prefix.new_zeros(layers, two, heads, rows, columns, size)
    mask = prefix.new_full((rows, 1, 1, columns), float("-inf"))
    positions = torch.zeros(rows, dtype=torch.long, device=prefix.device)
    of_keys = positions.new_zeros(rows, columns)
    return Cache(prefix, suffix, mask, of_keys, positions, positions.new_zeros(1), torch.zeros_like(positions))


class FixedCaches:
    """The same in few shapes, each with its step recorded once and used again by later batches.

    A cache has rows enough for as many prompts as are asked for: those behind them write what nobody reads.
    """

    def __init__(self) -> None:
        self._caches: dict[
            tuple[int, int, int], Cache
        ] = {}  # by rows, columns and prefix tokens; the last used is last

    def empty(self, prefix: Tensor, rows: int, columns: int, step: Callable[[Cache], Tensor]) -> Cache:
        """Room for so many prompts behind a prefix, at least; it is given to one batch at a time.

        step: on the tensors of a cache; always the same, and not kept: it would keep whose it is, and that this.
        """
        rows = max(FEWEST_ROWS, 1 << (rows - 1).bit_length())
        columns = -(-columns // ROUND_COLUMNS) * ROUND_COLUMNS
        shape = rows, columns, prefix.shape[3]
        cache = self._caches.pop(shape, None)
        if cache is None:
            while len(self._caches) >= KEPT_SHAPES:
                self._caches.pop(next(iter(self._caches))).advance = None  # which refers to its cache
            cache = empty(prefix.clone(), rows, columns)
            cache.advance = Captured(lambda: step(cache), prefix.device)
        self._caches[shape] = cache
        cache.prefix.copy_(prefix)
        cache.mask.fill_(float("-inf"))
        for tensor in (cache.suffix, cache.key_positions, cache.positions, cache.column, cache.tokens):
            tensor.zero_()
        return cache

    def forget(self) -> bool:
        """Give their memory back. Returns whether there was any."""
        had_any = bool(self._caches)
        for cache in self._caches.values():
            cache.advance = None
        self._caches.clear()
        return had_any
