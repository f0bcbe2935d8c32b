"""Batches of prompts that the processes of a run answer together, each with a copy of the LLM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
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
    def cores(self) -> int:
        """How many batches it answers at once on a processor, each on a core; 1: one, on all cores. Loads it."""
        ...

    @property
    def decoding(self) -> Decoding:
        """How it answers."""
        ...


def completions(llm: LLM, batches: Iterable[Sequence[str]]) -> Iterator[list[Completion]]:
    """The answers to each batch, in order."""
    if not isinstance(llm, Copied):
        yield from map(llm.complete, batches)
        return
    batches = iter(batches)
    for first in batches:  # nothing is loaded where nothing is asked
        asked = ((llm.decoding, batch) for batch in chain([first], batches))
        cores = 1 if distributed.is_shared() else llm.cores
        yield from distributed.shared(llm, llm.maker, _answer, asked, cores=cores)


def _answer(llm: LLM, asked: tuple[Decoding, Sequence[str]]) -> list[Completion]:
    decoding, prompts = asked
    return llm.decoding_as(decoding).complete(prompts)
