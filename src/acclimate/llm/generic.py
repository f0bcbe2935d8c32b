"""The same decoding for any causal model that transformers loads; slower than `llama.py`, and with fewer promises.

Left padding, the model's own forward pass, and a cache that grows by a column a step.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Cache:
    """What the model remembers of each prompt, and which columns are tokens (B, columns)."""

    past: Any
    mask: Tensor

    def keep(self, rows: Tensor) -> None:
        """Forget all prompts but `rows`."""
        self.past.batch_select_indices(rows)
        self.mask = self.mask[rows]


class Generic:
    """A decoder: `prefix` once, then `start` and `step` until done. Logits are (B, vocabulary)."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    @torch.inference_mode()
    def prefix(self, ids: Sequence[int]) -> Any:
        """What the model remembers of tokens that prompts share."""
        from transformers import DynamicCache

        past = DynamicCache(config=self._model.config)
        if ids:
            self._model(torch.tensor([ids], device=self._model.device), past_key_values=past, use_cache=True)
        return past

    @torch.inference_mode()
    def start(self, prefix: Any, rows: Sequence[Sequence[int]], room: int) -> tuple[Tensor, Cache]:
        """Read what follows the prefix in each prompt (one token at least)."""
        shared, longest = prefix.get_seq_length(), max(map(len, rows))
        past = copy.deepcopy(prefix)
        if shared:
            past.batch_repeat_interleave(len(rows))
        device = self._model.device
        ids = torch.tensor([[*[0] * (longest - len(row)), *row] for row in rows], device=device)
        mask = torch.tensor([[*[0] * (longest - len(row)), *[1] * len(row)] for row in rows], device=device)
        mask = torch.cat([mask.new_ones(len(rows), shared), mask], 1)
        return self._run(ids, Cache(past, mask))

    @torch.inference_mode()
    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read one token (B,) per prompt."""
        cache.mask = torch.cat([cache.mask, cache.mask.new_ones(len(tokens), 1)], 1)
        return self._run(tokens[:, None], cache)[0]

    def _run(self, ids: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        positions = (cache.mask.cumsum(1) - 1).clamp_(min=0)[:, -ids.shape[1] :]
        extra = {"position_ids": positions} if self._takes_positions else {}
        answer = self._model(
            ids, attention_mask=cache.mask, past_key_values=cache.past, use_cache=True, logits_to_keep=1, **extra
        )
        cache.past = answer.past_key_values
        return answer.logits[:, -1], cache
