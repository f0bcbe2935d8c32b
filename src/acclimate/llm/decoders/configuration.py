"""Read properties of the text part of a transformers configuration.

Multimodal models have a configuration for each modality; values may be in the model's own or in its text part.
"""

from __future__ import annotations

from typing import Any


def text_config(config: Any) -> Any:
    """The text part; the whole if there are no parts."""
    return config.get_text_config()


def width(config: Any) -> int:
    """Hidden size; 0 if not stated."""
    return getattr(text_config(config), "hidden_size", None) or 0


def positions(config: Any) -> int | None:
    """Maximum number of positions; None if not stated."""
    return getattr(text_config(config), "max_position_embeddings", None) or None


def is_encoder(config: Any) -> bool:
    """True for BERT and its like, which transformers also loads as decoders: it has to be asked for."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    is_masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return is_masked and not config.is_encoder_decoder and not getattr(config, "is_decoder", False)
