"""What a model's configuration, as transformers reads it, says of how it reads text.

Models that take images or sound, too, have a part for each: what a model's own configuration does not say, or says of
the whole, is in its part for text.
"""

from __future__ import annotations

from typing import Any


def text_config(config: Any) -> Any:
    """The part that reads text: the whole, where there is no other."""
    return config.get_text_config()


def width(config: Any) -> int:
    """Numbers per token, 0 where it does not say."""
    return getattr(text_config(config), "hidden_size", None) or 0


def positions(config: Any) -> int | None:
    """How many tokens the model was made for, None where it does not say."""
    return getattr(text_config(config), "max_position_embeddings", None) or None
