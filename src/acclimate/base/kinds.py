"""The kind of a model, read from its configuration (names and paths are not trusted)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_T5 = ("t5", "mt5", "umt5")  # their configurations may lack is_encoder_decoder


def kind_of(config: Mapping[str, Any]) -> str:
    """Kind of the model with this config.json: encoder, cross-encoder, monot5 or decoder."""
    architectures = config.get("architectures")
    architecture = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    if "SequenceClassification" in architecture:
        return "cross-encoder"
    is_t5 = config.get("model_type") in _T5
    generates = architecture.endswith(("ForConditionalGeneration", "WithLMHeadModel"))
    if generates and config.get("is_encoder_decoder", is_t5):
        return "monot5"
    if is_t5 and architecture in ("", "T5Model", "MT5Model"):
        return "monot5"
    return "decoder" if architecture.endswith(("ForCausalLM", "LMHeadModel")) else "encoder"
