"""What a stage will take, told before anything is done: calls of an LLM, and arithmetic of models on this machine.

The figures are rough. Arithmetic counts two operations for each parameter and token that a model reads, and three times
as much for training.
"""

from __future__ import annotations

from functools import cache
from math import prod
from pathlib import Path
from typing import NamedTuple

from acclimate.base import models
from acclimate.base.loading import tensor_shapes
from acclimate.llm import is_served
from acclimate.llm.estimate import Calls

LLM_FLOP = 2 * 106e6  # a token, of the embedded LLM
ENCODER_FLOP = 2 * 10.6e6  # a token, of the embedded encoder
TRAINING = 3  # times as much as reading
SEARCHING = ENCODER_FLOP * 16  # a query
_LOOKED_UP = ("embed", "shared", "wte", "lm_head")  # weights of which a token reads a row


class Estimate(NamedTuple):
    """What a stage will compute, and ask of an LLM."""

    flop: float = 0.0
    calls: Calls | None = None  # of its LLM, if it asks one


@cache
def token_flop(model: str) -> float:
    """FLOP of a token that a model reads, by its weights; the embedded model's where they are not here, or packed."""
    name = models.resolve(model)
    if name.gguf_file:
        return LLM_FLOP
    files = sorted(Path(name.path_or_id).rglob("*.safetensors")) if name.is_local else []
    weights = (item for path in files for item in tensor_shapes(path).items())
    n_read = sum(prod(shape) for tensor, shape in weights if not any(part in tensor for part in _LOOKED_UP))
    return 2 * n_read or ENCODER_FLOP


def asking(llm: str, calls: Calls, doc_tokens: int, flop: float = 0.0) -> Estimate:
    """What a stage takes that asks an LLM; what its prompts share is read once. flop: of all else that it does."""
    if not is_served(llm):
        flop += LLM_FLOP * (calls.completion_tokens + calls.calls * doc_tokens)
    return Estimate(flop, calls)
