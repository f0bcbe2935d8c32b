"""The text that a model's chat template puts around a message.

A template is rendered once with a placeholder, which is replaced by the prompt's tokens, so that nothing in a document
can act as a token of the template.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from acclimate.base.errors import DataError
from acclimate.llm.answers import reasoning

# Disables thinking, if the template can: the first line of the answer should be the query.
OPTIONS = {"enable_thinking": False}
_MARK = "{prompt}"


def around(name: str, render: Callable[[list[dict[str, Any]]], str]) -> tuple[str, str]:
    """(before, after) a user's message as rendered, with opened reasoning closed.

    Raises DataError for a template that fails, or drops the message.
    """
    try:
        text = render([{"role": "user", "content": _MARK}])
    except Exception as error:  # a template is a program that came with the model
        raise DataError(f"{name}: its chat template fails: {type(error).__name__}: {error}") from None
    before, mark, after = text.partition(_MARK)
    if not mark:
        raise DataError(f"{name}: its chat template leaves the message out; choose a prompt without chat = true")
    return before, reasoning.close_reasoning(after)
