"""A decoder for any causal model of transformers; slower than `packed.py`, and with fewer guarantees.

Left padding, the model's own forward pass, and a cache that grows by a column per step.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from acclimate.llm.decoders.decoder import Rows, name_of_cache
from acclimate.llm.decoders.packed import PAIRS_AT_ONCE


@dataclass(frozen=True)
class Prefix:
    """The state after the common prefix, and the part of it to be read with each prompt."""

    past: Any
    unread: Sequence[int] = ()


@dataclass
class Cache:
    """The model's cache of each prompt, and which columns are tokens (B, columns)."""

    shrinks: ClassVar[bool] = True
    past: Any
    mask: Tensor

    def keep(self, rows: Tensor) -> None:
        """Keep only the prompts `rows`."""
        self.past.batch_select_indices(rows)
        self.mask = self.mask[rows]


class Generic:
    """A decoder: `prefix` once, then `start` and `step` until done. Logits are (B, vocabulary)."""

    def __init__(self, model: Any) -> None:
        from transformers import DynamicCache

        self._model = model
        self._has_windows = any(
            getattr(layer, "is_sliding", False) for layer in DynamicCache(config=model.config).layers
        )
        self._cache = name_of_cache(model)
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    @torch.inference_mode()
    def prefix(self, ids: Sequence[int]) -> Prefix:
        """The state after tokens that prompts share.

        Empty for models with windows, since transformers counts padding columns as part of a window.
        """
        from transformers import DynamicCache

        past = DynamicCache(config=self._model.config)
        if self._has_windows:
            return Prefix(past, ids)
        if ids:
            self._model(torch.tensor([ids], device=self._model.device), use_cache=True, **{self._cache: past})
        return Prefix(past)

    @torch.inference_mode()
    def start(self, prefix: Prefix, rows: Sequence[Sequence[int]], room: int) -> tuple[Tensor, Cache]:
        """Read what follows the prefix in each prompt (at least one token)."""
        return self._run(*self._begin(prefix, rows))

    def _begin(self, prefix: Prefix, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Cache]:
        """Left-padded columns of tokens, and the prefix's cache for each row."""
        rows = [[*prefix.unread, *row] for row in rows]
        shared, longest = prefix.past.get_seq_length(), max(map(len, rows))
        past = copy.deepcopy(prefix.past)
        if shared:
            past.batch_repeat_interleave(len(rows))
        device = self._model.device
        ids = torch.tensor([[*[0] * (longest - len(row)), *row] for row in rows], device=device)
        mask = torch.tensor([[*[0] * (longest - len(row)), *[1] * len(row)] for row in rows], device=device)
        mask = torch.cat([mask.new_ones(len(rows), shared), mask], 1)
        return ids, Cache(past, mask)

    def forget(self) -> bool:
        """Nothing is kept."""
        return False

    @torch.inference_mode()
    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read one token (B,) per prompt."""
        cache.mask = torch.cat([cache.mask, cache.mask.new_ones(len(tokens), 1)], 1)
        return self._run(tokens[:, None], cache)[0]

    @torch.inference_mode()
    def logits_of(self, starts: Rows, rows: Rows, start_of_row: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """(n_rows, n_tokens) logits of some tokens after each row following its start, in the model's precision."""
        logits: dict[int, Tensor] = {}
        for places, begun in self._following(starts, rows, start_of_row):
            logits.update(zip(places, self._answer(*begun, 1).logits[:, -1].float()[:, list(tokens)], strict=True))
        return torch.stack([logits[place] for place in range(len(rows))])

    @torch.inference_mode()
    def logprobs(self, starts: Rows, rows: Rows, start_of_row: Sequence[int]) -> list[Tensor]:
        """For each row, (length - 1,) natural log-probabilities of its tokens after the first."""
        logprobs: dict[int, Tensor] = {}
        for places, begun in self._following(starts, rows, start_of_row):
            longest = max(len(rows[place]) for place in places)
            for place, row in zip(places, self._answer(*begun, longest).logits, strict=True):
                after = torch.tensor(rows[place][1:], device=row.device)
                logs = row[longest - len(rows[place]) : -1].float().log_softmax(-1)
                logprobs[place] = logs.gather(1, after[:, None])[:, 0]
        return [logprobs[place] for place in range(len(rows))]

    def _following(
        self, starts: Rows, rows: Rows, start_of_row: Sequence[int]
    ) -> Iterator[tuple[list[int], tuple[Tensor, Cache]]]:
        """(positions, input) of batches of rows that follow the same start, which is computed once."""
        for number, start in enumerate(starts):
            followers = sorted(
                (place for place in range(len(rows)) if start_of_row[place] == number), key=lambda p: len(rows[p])
            )
            prefix = self.prefix(start)
            for begin in range(0, len(followers), PAIRS_AT_ONCE):
                places = followers[begin : begin + PAIRS_AT_ONCE]
                yield places, self._begin(prefix, [rows[place] for place in places])

    def _run(self, ids: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        answer = self._answer(ids, cache, 1)
        cache.past = answer[self._cache]
        return answer.logits[:, -1], cache

    def _answer(self, ids: Tensor, cache: Cache, logits: int) -> Any:
        """The model's output for tokens, with the logits of the last few columns."""
        positions = (cache.mask.cumsum(1) - 1).clamp_(min=0)[:, -ids.shape[1] :]
        extra = {"position_ids": positions} if self._takes_positions else {}
        extra[self._cache] = cache.past
        return self._model(ids, attention_mask=cache.mask, use_cache=True, logits_to_keep=logits, **extra)
