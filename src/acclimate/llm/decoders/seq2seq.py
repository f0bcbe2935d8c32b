"""A decoder for encoder-decoder models: T5 and its like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from acclimate.llm.decoders.decoder import name_of_cache


@dataclass
class Cache:
    """The encoder's output for each prompt, its mask, and the decoder's cache."""

    shrinks: ClassVar[bool] = True
    encoded: Tensor  # (B, columns, C)
    mask: Tensor  # (B, columns)
    past: Any

    def keep(self, rows: Tensor) -> None:
        """Keep only the prompts `rows`."""
        self.encoded, self.mask = self.encoded[rows], self.mask[rows]
        self.past.batch_select_indices(rows)


class Seq2Seq:
    """A decoder: `start`, then `step` until done. Logits are (B, vocabulary).

    There is no prefix to share: an encoder's tokens attend to all others.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache = name_of_cache(model)
        self._begin: int = model.config.decoder_start_token_id

    def prefix(self, ids: Sequence[int]) -> None:
        """Nothing."""
        assert not ids

    @torch.inference_mode()
    def start(self, prefix: None, rows: Sequence[Sequence[int]], room: int) -> tuple[Tensor, Cache]:
        """Read the prompts (at least one token)."""
        from transformers import DynamicCache, EncoderDecoderCache

        longest, device = max(map(len, rows)), self._model.device
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
        mask = torch.tensor([[*[1] * len(row), *[0] * (longest - len(row))] for row in rows], device=device)
        encoded = self._model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        cache = Cache(encoded, mask, EncoderDecoderCache(DynamicCache(), DynamicCache()))
        return self.step(torch.full((len(rows),), self._begin, device=device), cache), cache

    def forget(self) -> bool:
        """Nothing is kept."""
        return False

    @torch.inference_mode()
    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read one token (B,) per prompt."""
        answer = self._model(
            encoder_outputs=(cache.encoded,),
            attention_mask=cache.mask,
            decoder_input_ids=tokens[:, None],
            use_cache=True,
            **{self._cache: cache.past},
        )
        cache.past = answer[self._cache]
        return answer.logits[:, -1]
