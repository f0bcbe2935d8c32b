"""Attention of several tokens at once to a prefix shared by all prompts and to each prompt's own suffix.

Shapes as in `packed.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

# Flash attention takes one on a CPU only.
_TAKE_A_MASK = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]


class AttentionMasks(NamedTuple):
    """Attention masks: 0 where a key is visible, -inf where it is hidden."""

    prefix: Tensor | None  # (B or 1, 1, T, P); None: all visible
    suffix: Tensor  # (B or 1, 1, T, S)

    def by(self, asked: Tensor) -> AttentionMasks:
        """The masks of one token per prompt, (B,), as (B, 1, 1, P) and (B, 1, 1, S)."""
        rows = torch.arange(len(asked), device=asked.device)

        def of_asked(mask: Tensor) -> Tensor:
            return mask.expand(len(asked), -1, -1, -1)[rows, :, asked][:, :, None]

        return AttentionMasks(None if self.prefix is None else of_asked(self.prefix), of_asked(self.suffix))


@dataclass(frozen=True)
class Reading:
    """Which tokens are read, where keys and values are written, and what is visible in the suffix."""

    positions: Tensor  # (B or 1, T)
    columns: slice | Tensor  # of the suffix, to write to
    key_positions: Tensor  # (B or 1, S): positions of the suffix's columns
    mask: Tensor  # (B or 1, 1, T, S): -inf for gaps and later tokens
    asked: Tensor | None = None  # (B,): one token per prompt, which alone the last layer computes

    def masks(self, window: int | None, prefix: int) -> AttentionMasks:
        """Masks of a layer with this window (the token itself included), after a prefix of `prefix` tokens."""
        if window is None or prefix + self.mask.shape[-1] <= window:
            return AttentionMasks(None, self.mask)
        queries = self.positions[:, None, :, None]
        in_prefix = torch.arange(prefix, device=queries.device)
        to_prefix = mask_of(queries - in_prefix >= window, self.mask.dtype)
        is_far = queries - self.key_positions[:, None, None] >= window
        return AttentionMasks(to_prefix, self.mask.masked_fill(is_far, float("-inf")))


def mask_of(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """-inf where hidden, 0 elsewhere."""
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, float("-inf"))


def attend(q: Tensor, shared: Tensor, suffix: Tensor, masks: AttentionMasks, scale: float) -> Tensor:
    """Attention of q (B, T, K * G, D) to prefix (2, K, P, D) and suffix (2, K, B, S, D); returns (B, T, K * G * D).

    One softmax over both; products with the prefix are shared by all prompts.
    """
    batch, length, heads, _ = q.shape
    shape = len(shared[0]), batch, heads // len(shared[0]), length
    q = _by_key_head(q, shape[2]) * scale
    to_prefix = (q.flatten(1, 2) @ shared[0].mT).view(*shape, shared.shape[2])
    if masks.prefix is not None:
        to_prefix.add_(masks.prefix)
    to_suffix = (q @ suffix[0].mT).view(*shape, suffix.shape[3]).add_(masks.suffix)
    weights = torch.cat([to_prefix, to_suffix], -1).softmax(-1)
    from_prefix, from_suffix = weights.split((to_prefix.shape[-1], to_suffix.shape[-1]), -1)
    mixed = (from_prefix.flatten(1, 3) @ shared[1]).view(q.shape)
    mixed = mixed + from_suffix.flatten(2, 3) @ suffix[1]
    return _by_token(mixed, length)


def attend_fused(q: Tensor, shared: Tensor, suffix: Tensor, masks: AttentionMasks, scale: float) -> Tensor:
    """The same with a fused kernel that does not store scores, most of the memory traffic.

    Each prompt gets a copy of the prefix for the duration of a layer.
    """
    groups = q.shape[2] // len(shared[0])
    prefixes = shared[:, :, None].expand(-1, -1, len(q), -1, -1)
    keys, values = torch.cat([prefixes, suffix], 3)
    mask = (
        F.pad(masks.suffix, (shared.shape[2], 0))
        if masks.prefix is None
        else torch.cat([masks.prefix, masks.suffix], -1)
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
    """(B, T, K * G, D) to (K, B, G * T, D)."""
    return q.unflatten(2, (-1, groups)).permute(2, 0, 3, 1, 4).flatten(2, 3)


def _by_token(mixed: Tensor, length: int) -> Tensor:
    """(K, B, G * T, D) to (B, T, K * G * D)."""
    return mixed.unflatten(2, (-1, length)).permute(1, 3, 0, 2, 4).flatten(2)
