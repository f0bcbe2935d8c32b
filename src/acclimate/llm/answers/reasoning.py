"""Separate a model's reasoning from its answer, by the tags of chat templates."""

from __future__ import annotations

import re

_TAG = (
    r"(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad|cot"
    r"|inner[_ ](?:monologue|thoughts?))"
)
# Words that do not follow a tag, but a mention of it.
SPOKEN_OF = r"(?!\ (?:tags?|tokens?|elements?|blocks?|and|or|vs|in|is|missing|meaning)\b)"
# Tags are at the start or end of a line; within a line they are mentions.
_OPENING = re.compile(
    rf"^[ \t]*(?:<\s?{_TAG}(?:\s[^<>\n]*)?>|\[(?:THINK(?:ING)?|REASONING)\]|◁think▷|<\|begin_of_thought\|>|<unused94>"
    r"|<\|(?:start_)?think(?:ing)?\|>|Thinking\.{3}[ \t]*$"
    r"|\A\s*(?-i:analysis(?=(?:The|We|User|Need|Let)\b|[A-Z][\s\S]*assistantfinal))"  # marks that lost their tokens
    r"|(?:<\|start\|>assistant)?<\|channel\|>\s*(?:analysis|commentary)\b[^<\n]*<\|message\|>)" + SPOKEN_OF,
    re.IGNORECASE | re.MULTILINE,
)
_CLOSING = (
    rf"(?:</\s?{_TAG}\s?>|\[/(?:THINK(?:ING)?|REASONING)\]|◁/think▷|<\|end_of_thought\|>|<unused95>"
    r"|<\|(?:end_|/)think(?:ing)?\|>|\.{3}done\ thinking\.(?=\s)|(?<=\S)assistantfinal"
    r"|<\|channel\|>\s*final\b[^<\n]*<\|message\|>)" + SPOKEN_OF
)
_CLOSING_ANYWHERE = re.compile(_CLOSING, re.IGNORECASE)
_CLOSING_A_LINE = re.compile(rf"^[^\S\n]*{_CLOSING}|{_CLOSING}(?=[^\S\n]*$)", re.IGNORECASE | re.MULTILINE)


def answer_span(text: str) -> tuple[int, int]:
    """(start, end) of the answer in `text`, after finished and before unfinished reasoning.

    A template may open the reasoning in the prompt, so that the text only closes it.
    """
    is_opened = _OPENING.match(text.lstrip()) is not None
    begin = 0
    for mark in (_CLOSING_ANYWHERE if is_opened else _CLOSING_A_LINE).finditer(text):
        begin = mark.end()
    unclosed = _OPENING.search(text, begin)
    return begin, len(text) if unclosed is None else unclosed.start()


def close_reasoning(text: str) -> str:
    """Close reasoning that a prompt ends in, so that the model continues with its answer."""
    opened = re.search(rf"<({_TAG})>\s*\Z", text)
    return f"{text.rstrip()}\n\n</{opened[1]}>\n\n" if opened else text


def has_reasoning(text: str) -> bool:
    """True for a text with reasoning."""
    return answer_span(text) != (0, len(text))
