"""The interface of decoders: `packed.py`, `generic.py` and `seq2seq.py`. The first two also score given texts."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

Rows = Sequence[Sequence[int]]  # token ids


class Decoder(Protocol):
    """Decodes a batch of B prompts step by step. The result of `prefix` can be used for several `start`s."""

    def prefix(self, ids: Sequence[int], /) -> Any:
        """The state after the tokens that prompts share, possibly none."""
        ...

    def start(self, prefix: Any, rows: Rows, room: int, /) -> tuple[torch.Tensor, Any]:
        """((B, vocabulary) logits after each row following the prefix, a cache for `step`).

        rows: at least one token each. room: maximum tokens to be added to each.
        """
        ...

    def step(self, tokens: torch.Tensor, cache: Any, /) -> torch.Tensor:
        """(B, vocabulary) logits after one more token (B,) per prompt; updates the cache."""
        ...

    def forget(self) -> bool:
        """Release memory kept between batches; returns whether there was any."""
        ...


class LikelihoodDecoder(Decoder, Protocol):
    """A decoder that also scores given rows of tokens, each after one of several starts.

    start_of_row: index of each row's start.
    """

    def logits_of(
        self, starts: Rows, rows: Rows, start_of_row: Sequence[int], tokens: Sequence[int], /
    ) -> torch.Tensor:
        """(n_rows, n_tokens) logits of these tokens after each row."""
        ...

    def logprobs(self, starts: Rows, rows: Rows, start_of_row: Sequence[int], /) -> list[torch.Tensor]:
        """For each row, (length - 1,) natural log-probabilities of its tokens after the first."""
        ...


def name_of_cache(model: Any) -> str:
    """What a model of transformers calls the keys and values of earlier tokens: `cache` from 5.24 on."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
