"""What a stage will take, told before anything is done: calls of an LLM, and arithmetic of models on this machine.

The figures are rough. Arithmetic counts two operations for each parameter and token that a model reads, and three times
as much for training.
"""

from __future__ import annotations

from typing import NamedTuple

from acclimate.llm import is_served
from acclimate.llm.estimate import Calls

LLM_FLOP = 2 * 106e6  # a token, of the embedded LLM
ENCODER_FLOP = 2 * 10.6e6  # a token, of the embedded encoder
TRAINING = 3  # times as much as reading
SEARCHING = ENCODER_FLOP * 16  # a query


class Estimate(NamedTuple):
    """Of one stage."""

    flop: float = 0.0
    calls: Calls | None = None  # of its LLM, if it asks one


def asking(llm: str, calls: Calls, doc_tokens: int, flop: float = 0.0) -> Estimate:
    """Of a stage that asks an LLM; what its prompts share is read once. flop: of all else that it does."""
    if not is_served(llm):
        flop += LLM_FLOP * (calls.completion_tokens + calls.calls * doc_tokens)
    return Estimate(flop, calls)
