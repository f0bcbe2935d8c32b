"""Answer batches of prompts in several processes, each with its own copy of the LLM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol, runtime_checkable

from acclimate.base import distributed
from acclimate.llm.decoding import Decoding
from acclimate.llm.protocol import LLM
from acclimate.records import Completion


@runtime_checkable
class Replicable(LLM, Protocol):
    """An LLM that other processes can load, each on its own GPU."""

    @property
    def maker(self) -> Callable[[], LLM]:
        """Makes it in another process, with any decoding; pickled."""
        ...

    @property
    def cores(self) -> int:
        """Number of batches to answer at once on a CPU, one per core; 1: one on all cores. Loads the model."""
        ...

    @property
    def decoding(self) -> Decoding:
        """Its decoding."""
        ...


def complete_batches(llm: LLM, batches: Iterable[Sequence[str]]) -> Iterator[list[Completion]]:
    """Answers to each batch, in order."""
    if not isinstance(llm, Replicable):
        yield from map(llm.complete, batches)
        return
    batches = iter(batches)
    for first in batches:  # load nothing if nothing is asked
        asked = ((llm.decoding, batch) for batch in chain([first], batches))
        cores = 1 if distributed.is_shared() else llm.cores
        yield from distributed.shared(llm, llm.maker, _answer, asked, cores=cores)


def _answer(llm: LLM, asked: tuple[Decoding, Sequence[str]]) -> list[Completion]:
    decoding, prompts = asked
    return llm.decoding_as(decoding).complete(prompts)
