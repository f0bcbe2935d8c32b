"""What a model's chat template puts around a message.

A template is rendered once, around a mark; a prompt takes the mark's place as tokens, so nothing in a document can pass
for a token of the template.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from acclimate.base.errors import DataError
from acclimate.llm.answers import reasoning

# Models that can think aloud before they answer are told not to: their first line is to be the query.
OPTIONS = {"enable_thinking": False}
_MARK = "{prompt}"


def around(name: str, render: Callable[[list[dict[str, Any]]], str]) -> tuple[str, str]:
    """What `render` puts before and behind a user's message, with the reasoning over that it may begin.

    Raises DataError for a template that fails, or leaves the message out.
    """
    try:
        text = render([{"role": "user", "content": _MARK}])
    except Exception as error:  # the template is a program that came with the model
        raise DataError(f"{name}: its chat template fails: {type(error).__name__}: {error}") from None
    before, mark, after = text.partition(_MARK)
    if not mark:
        raise DataError(f"{name}: its chat template leaves the message out; choose a prompt without chat = true")
    return before, reasoning.closed(after)
