"""What a model is, by its own configuration: neither its name nor its path says anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_T5 = ("t5", "mt5", "umt5")  # their configurations need not say that they have a decoder


def kind_of(config: Mapping[str, Any]) -> str:
    """What the model of this configuration is: encoder, cross-encoder, monot5 or decoder."""
    architectures = config.get("architectures")
    written_by = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    if "SequenceClassification" in written_by:
        return "cross-encoder"
    is_t5 = config.get("model_type") in _T5
    writes = written_by.endswith(("ForConditionalGeneration", "WithLMHeadModel"))
    if (writes and config.get("is_encoder_decoder", is_t5)) or (is_t5 and written_by in ("", "T5Model", "MT5Model")):
        return "monot5"
    return "decoder" if written_by.endswith(("ForCausalLM", "LMHeadModel")) else "encoder"
