"""What a model must do to decode, as `llama.py`, `generic.py` and `seq2seq.py` do; the first two rate texts, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

Rows = Sequence[Sequence[int]]  # token ids


class Decoder(Protocol):
    """Steps over a batch. What `prefix` returns may be given to any number of `start`s."""

    def prefix(self, ids: Sequence[int], /) -> Any: ...

    def start(self, prefix: Any, rows: Sequence[Sequence[int]], room: int, /) -> tuple[torch.Tensor, Any]: ...

    def step(self, tokens: torch.Tensor, cache: Any, /) -> torch.Tensor: ...


class LikelihoodDecoder(Decoder, Protocol):
    """A decoder that can also say how likely given tokens are: of rows, each behind one of the starts."""

    def logits_of(
        self, starts: Rows, rows: Rows, start_of_row: Sequence[int], tokens: Sequence[int], /
    ) -> torch.Tensor: ...

    def logprobs(self, starts: Rows, rows: Rows, start_of_row: Sequence[int], /) -> list[torch.Tensor]: ...
