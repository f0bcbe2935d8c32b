"""Attention of tokens that are read at once to a prefix that all prompts share and to what each has of its own.

Letters in shapes are those of `packed.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

_TAKE_A_MASK = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]  # flash: on a CPU alone


class Seen(NamedTuple):
    """What is added to scores: 0 where a key is seen, -inf where it is hidden."""

    prefix: Tensor | None  # (B or 1, 1, T, P); None: all of it is seen
    suffix: Tensor  # (B or 1, 1, T, S)

    def by(self, asked: Tensor) -> Seen:
        """By one token of each prompt, (B,), as (B, 1, 1, P) and (B, 1, 1, S)."""
        rows = torch.arange(len(asked), device=asked.device)

        def of_asked(mask: Tensor) -> Tensor:
            return mask.expand(len(asked), -1, -1, -1)[rows, :, asked][:, :, None]

        return Seen(None if self.prefix is None else of_asked(self.prefix), of_asked(self.suffix))


@dataclass(frozen=True)
class Reading:
    """Which tokens are read, where their keys and values go, and which of the suffix's they may see."""

    positions: Tensor  # (B or 1, T)
    columns: slice | Tensor  # of the suffix, that they are written to
    key_positions: Tensor  # (B or 1, S): of what is in the suffix
    mask: Tensor  # (B or 1, 1, T, S), added to scores: -inf for gaps and for what comes later
    asked: Tensor | None = None  # (B,): a token of each prompt; then the last layer computes these alone

    def seen(self, window: int | None, prefix: int) -> Seen:
        """By layers whose tokens see so many, themselves included, behind a prefix of so many tokens."""
        if window is None or prefix + self.mask.shape[-1] <= window:
            return Seen(None, self.mask)
        queries = self.positions[:, None, :, None]
        in_prefix = torch.arange(prefix, device=queries.device)
        to_prefix = torch.zeros(*queries.shape[:-1], prefix, dtype=self.mask.dtype, device=queries.device).masked_fill_(
            queries - in_prefix >= window, float("-inf")
        )
        is_far = queries - self.key_positions[:, None, None] >= window
        return Seen(to_prefix, self.mask.masked_fill(is_far, float("-inf")))


def attend(q: Tensor, shared: Tensor, suffix: Tensor, seen: Seen, scale: float) -> Tensor:
    """q (B, T, K * G, D) over the prefix (2, K, P, D) and the suffix (2, K, B, S, D); returns (B, T, K * G * D).

    One softmax over both; the products with the prefix take all prompts at once.
    """
    batch, length, heads, _ = q.shape
    shape = len(shared[0]), batch, heads // len(shared[0]), length
    q = _by_key_head(q, shape[2]) * scale
    to_prefix = (q.flatten(1, 2) @ shared[0].mT).view(*shape, shared.shape[2])
    if seen.prefix is not None:
        to_prefix.add_(seen.prefix)
    to_suffix = (q @ suffix[0].mT).view(*shape, suffix.shape[3]).add_(seen.suffix)
    weights = torch.cat([to_prefix, to_suffix], -1).softmax(-1)
    from_prefix, from_suffix = weights.split((to_prefix.shape[-1], to_suffix.shape[-1]), -1)
    mixed = (from_prefix.flatten(1, 3) @ shared[1]).view(q.shape)
    mixed = mixed + from_suffix.flatten(2, 3) @ suffix[1]
    return _by_token(mixed, length)


def attend_unwritten(q: Tensor, shared: Tensor, suffix: Tensor, seen: Seen, scale: float) -> Tensor:
    """The same by one kernel that writes no scores, which are most of what would be written and read.

    Each prompt has a copy of the prefix for the time of a layer.
    """
    groups = q.shape[2] // len(shared[0])
    prefixes = shared[:, :, None].expand(-1, -1, len(q), -1, -1)
    keys, values = torch.cat([prefixes, suffix], 3)
    mask = (
        F.pad(seen.suffix, (shared.shape[2], 0)) if seen.prefix is None else torch.cat([seen.prefix, seen.suffix], -1)
    )
    mask = mask.expand(-1, groups, -1, -1).flatten(1, 2)[None]  # (1, B or 1, G * T, P + S)
    with sdpa_kernel(_TAKE_A_MASK):
        mixed = F.scaled_dot_product_attention(_by_key_head(q, groups), keys, values, attn_mask=mask, scale=scale)
    return _by_token(mixed, q.shape[1])


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (arXiv 2104.09864) of x (..., D)."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


def _by_key_head(q: Tensor, groups: int) -> Tensor:
    """(B, T, K * G, D) as (K, B, G * T, D)."""
    return q.unflatten(2, (-1, groups)).permute(2, 0, 3, 1, 4).flatten(2, 3)


def _by_token(mixed: Tensor, length: int) -> Tensor:
    """(K, B, G * T, D) as (B, T, K * G * D)."""
    return mixed.unflatten(2, (-1, length)).permute(1, 3, 0, 2, 4).flatten(2)
