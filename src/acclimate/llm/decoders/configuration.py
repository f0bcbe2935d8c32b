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
