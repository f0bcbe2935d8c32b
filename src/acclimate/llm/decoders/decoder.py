"""What a model must do to decode, as `packed.py`, `generic.py` and `seq2seq.py` do; the first two rate texts, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

Rows = Sequence[Sequence[int]]  # token ids


class Decoder(Protocol):
    """Steps over a batch of B prompts. What `prefix` returns may be given to any number of `start`s."""

    def prefix(self, ids: Sequence[int], /) -> Any:
        """What is remembered of the tokens that prompts share at their start, maybe of none."""
        ...

    def start(self, prefix: Any, rows: Rows, room: int, /) -> tuple[torch.Tensor, Any]:
        """(B, vocabulary) logits of what follows each row behind the prefix, and a cache to go on with.

        rows: a token each at least. room: how many tokens may be added to each.
        """
        ...

    def step(self, tokens: torch.Tensor, cache: Any, /) -> torch.Tensor:
        """(B, vocabulary) logits of what follows one more token (B,) of each prompt; changes the cache."""
        ...

    def forget(self) -> bool:
        """Give back the memory that is kept between batches. Returns whether there was any."""
        ...


class LikelihoodDecoder(Decoder, Protocol):
    """A decoder that can also say how likely given tokens are: of rows, each behind one of the starts.

    start_of_row: for each row, the number of its start.
    """

    def logits_of(
        self, starts: Rows, rows: Rows, start_of_row: Sequence[int], tokens: Sequence[int], /
    ) -> torch.Tensor:
        """(n_rows, n_tokens) logits of these tokens as what follows each row."""
        ...

    def logprobs(self, starts: Rows, rows: Rows, start_of_row: Sequence[int], /) -> list[torch.Tensor]:
        """Per row: (its length - 1,) natural log-probabilities of its tokens after the first."""
        ...
