"""Attention for training on a CPU, computed in float32.

PyTorch's fused attention computes bfloat16 gradients without the CPU's bfloat16 instructions; float32 takes a quarter
of the time. With attention dropout it is not fused, so the model's own implementation is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

_FUSED = "sdpa"
_LEARNING = "sdpa_learning"


@contextmanager
def float32_attention(model: Any) -> Iterator[None]:
    """Context in which a transformers model that has fused attention uses this one."""
    if model.config._attn_implementation != _FUSED:
        yield
        return
    AttentionInterface.register(_LEARNING, _attend)
    AttentionMaskInterface.register(_LEARNING, AttentionMaskInterface()[_FUSED])
    model.set_attn_implementation(_LEARNING)
    try:
        yield
    finally:
        model.set_attn_implementation(_FUSED)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention: (n_texts, n_heads, n_tokens, dim) to (n_texts, n_tokens, n_heads, dim)."""
    drop = getattr(module, "dropout", None)
    with torch.autocast("cpu", enabled=False):
        if dropout and isinstance(drop, torch.nn.Module) and options.get("position_bias") is None:
            scores = query @ key.transpose(-1, -2) * (scaling or query.shape[-1] ** -0.5)
            if attention_mask is not None:
                no = torch.finfo(scores.dtype).min
                is_bool = attention_mask.dtype == torch.bool
                scores = scores.masked_fill(~attention_mask, no) if is_bool else scores + attention_mask
            states = (drop(scores.softmax(dim=-1)) @ value).transpose(1, 2)
        else:
            if attention_mask is not None and attention_mask.is_floating_point():
                attention_mask = attention_mask.float()
            states, _ = AttentionInterface()[_FUSED](
                module,
                *(part.float() for part in (query, key, value)),
                attention_mask,
                dropout=dropout,
                scaling=scaling,
                **options,
            )
    return states.to(query.dtype), None
