"""Batches of prompts that the processes of a run answer together, each with a copy of the LLM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from acclimate.base import distributed
from acclimate.llm.decoding import Decoding
from acclimate.llm.protocol import LLM
from acclimate.records import Completion


@runtime_checkable
class Copied(LLM, Protocol):
    """An LLM that other processes can load, too, each on a GPU of its own."""

    @property
    def maker(self) -> Callable[[], LLM]:
        """What makes it there, in whatever decoding; it is pickled."""
        ...

    @property
    def decoding(self) -> Decoding:
        """How it answers."""
        ...


def completions(llm: LLM, batches: Iterable[Sequence[str]]) -> Iterator[list[Completion]]:
    """The answers to each batch, in order."""
    if distributed.is_shared() and isinstance(llm, Copied):
        asked = ((llm.decoding, batch) for batch in batches)
        return distributed.shared(llm, llm.maker, _answer, asked)
    return (llm.complete(batch) for batch in batches)


def _answer(llm: LLM, asked: tuple[Decoding, Sequence[str]]) -> list[Completion]:
    decoding, prompts = asked
    return llm.decoding_as(decoding).complete(prompts)
