"""What an LLM is, whoever serves it: prompts in, completions out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from acclimate.llm.decoding import Decoding
from acclimate.records import Completion


class LLM(Protocol):
    """Answers prompts."""

    @property
    def name(self) -> str:
        """As its user calls it; accounts are kept by it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same prompt could get another answer: weights, precision, decoding parameters."""
        ...

    def complete(self, prompts: Sequence[str]) -> list[Completion]:
        """One completion per prompt, in order."""
        ...

    def cut(self, text: str, max_tokens: int) -> str:
        """`text`, cut to at most `max_tokens` of this model's tokens: at the end of a sentence or of a word."""
        ...

    def decoding_as(self, decoding: Decoding) -> LLM:
        """The same LLM, decoding so; what is loaded is shared."""
        ...


class BatchSize(NamedTuple):
    """How much is answered, and kept, together: at most so many prompts, and about so many tokens to read, what all
    prompts share at the start not counted."""

    prompts: int
    tokens: int


@runtime_checkable
class Batching(Protocol):
    """What an LLM is, too, that knows how much it answers best together. To tell, no weights are read."""

    @property
    def batch_size(self) -> BatchSize:
        """Of its device: a kill loses a batch, and in another one an answer may be rounded otherwise."""
        ...


@runtime_checkable
class Tokenizing(Protocol):
    """What an LLM is, too, whose tokenizer is at hand; that of a server is not. To tell, no weights are read."""

    def cut_tokens(self, text: str, max_tokens: int) -> str:
        """What its tokenizer makes of the first `max_tokens` tokens of `text`, or of all of them."""
        ...


@runtime_checkable
class StreamingLLM(LLM, Protocol):
    """An LLM whose answers come one by one, and are kept one by one: a server, whose every answer was paid for."""

    def answers(self, prompts: Sequence[str]) -> Iterator[tuple[int, Completion]]:
        """The place of a prompt and its completion, in the order in which they come.

        What it raises it raises at the end, when no answer is under way any more.
        """
        ...

    def stop_asking(self) -> None:
        """Send no more requests; `answers` goes on with those that are under way, and ends."""
        ...
