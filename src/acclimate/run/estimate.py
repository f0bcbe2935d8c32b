"""Rough cost estimates of stages: LLM calls, and FLOP of models on this machine.

A model is counted as two operations per parameter and token, and training as three times as much.
"""

from __future__ import annotations

from functools import cache
from math import prod
from pathlib import Path
from typing import NamedTuple

from acclimate.base import models
from acclimate.base.tensor_files import tensor_shapes
from acclimate.llm import is_served
from acclimate.llm.estimate import Calls
from acclimate.search.scorers import adapter

LLM_FLOP = 2 * 106e6  # per token of the embedded LLM
ENCODER_FLOP = 2 * 10.6e6  # per token of the embedded encoder
ENCODER_DIM = 384  # of its vectors
TRAINING_FACTOR = 3  # cost relative to inference
SEARCH_FLOP = ENCODER_FLOP * 16  # per query
_LOOKED_UP = ("embed", "shared", "wte", "lm_head")  # embedding weights, of which a token reads one row


class Estimate(NamedTuple):
    """FLOP of a stage, its LLM calls, and the bytes of its files."""

    flop: float = 0.0
    calls: Calls | None = None  # of its LLM, if any
    n_bytes: float = 0.0  # 0 if they are few


@cache
def token_flop(model: str, otherwise: float = ENCODER_FLOP) -> float:
    """FLOP per token of a model, from its weights; `otherwise` if they are packed or not available.

    An adapter costs what its base does, as it is merged into it.
    """
    name = models.resolve(model)
    if adapter.is_adapter(model):
        return token_flop(adapter.base_of(Path(name.path_or_id)), otherwise)
    if name.gguf_file:
        return LLM_FLOP
    files = sorted(Path(name.path_or_id).rglob("*.safetensors")) if name.is_local else []
    weights = (item for path in files for item in tensor_shapes(path).items())
    n_read = sum(prod(shape) for tensor, shape in weights if not any(part in tensor for part in _LOOKED_UP))
    return 2 * n_read or otherwise


def is_sized(model: str) -> bool:
    """Whether the estimates know a model's size; any other counts as the small one of its kind that is packaged."""
    return "embedded:" in model or Path(model).is_dir()


def llm_estimate(llm: str, calls: Calls, doc_tokens: int, flop: float = 0.0) -> Estimate:
    """Estimate of a stage that calls an LLM; a shared prefix of prompts counts once. flop: of everything else."""
    if not is_served(llm):
        per_token = token_flop(llm, LLM_FLOP) if Path(llm).is_dir() else LLM_FLOP
        flop += per_token * (calls.completion_tokens + calls.calls * doc_tokens)
    return Estimate(flop, calls)
