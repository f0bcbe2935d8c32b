"""The LLM protocol: prompts in, completions out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from acclimate.llm.decoding import Decoding
from acclimate.records import Completion


class LLM(Protocol):
    """Answers prompts."""

    @property
    def name(self) -> str:
        """The name given by the user, which identifies its account."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same prompt could get another answer: weights, precision, decoding."""
        ...

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion per prompt, in order."""
        ...

    def cut(self, text: str, max_tokens: int) -> str:
        """Truncate `text` to `max_tokens` of this model's tokens, after a sentence or word."""
        ...

    def decoding_as(self, decoding: Decoding) -> LLM:
        """The same LLM with another decoding; what is loaded is shared."""
        ...


class BatchSize(NamedTuple):
    """Maximum prompts, and tokens (without the common prefix), that are answered and committed together."""

    prompts: int
    tokens: int


@runtime_checkable
class Batching(Protocol):
    """An LLM with a preferred batch size. Does not load weights."""

    @property
    def batch_size(self) -> BatchSize:
        """For its device. An interrupted run loses a batch, and the batch may affect rounding."""
        ...


@runtime_checkable
class Tokenizing(Protocol):
    """An LLM with an available tokenizer, unlike a server's. Does not load weights."""

    def cut_tokens(self, text: str, max_tokens: int) -> str:
        """Decode the first `max_tokens` tokens of `text`."""
        ...


@runtime_checkable
class StreamingLLM(LLM, Protocol):
    """An LLM whose answers arrive, and are stored, one by one, such as a server's, each of which is paid for."""

    def answers(self, prompts: Sequence[str]) -> Iterator[tuple[int, Completion]]:
        """(position, completion) as they arrive.

        Errors are raised after all pending answers.
        """
        ...

    def stop_asking(self) -> None:
        """Send no more requests; `answers` yields the pending ones and ends."""
        ...
