"""What a model thinks aloud before it answers, told from its answer by the marks that chat templates give it."""

from __future__ import annotations

import re

_TAG = (
    r"(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad|cot"
    r"|inner[_ ](?:monologue|thoughts?))"
)
# What does not follow a mark: it would be what the text speaks of.
SPOKEN_OF = r"(?!\ (?:tags?|tokens?|elements?|blocks?|and|or|vs|in|is|missing|meaning)\b)"
# Marks stand at the start or the end of a line; within one they are what a text speaks of.
_OPENING = re.compile(
    rf"^[ \t]*(?:<\s?{_TAG}(?:\s[^<>\n]*)?>|\[(?:THINK|REASONING)\]|◁think▷|<\|begin_of_thought\|>|<unused94>"
    r"|<\|(?:start_)?think(?:ing)?\|>|Thinking\.{3}[ \t]*$"
    r"|(?:<\|start\|>assistant)?<\|channel\|>\s*(?:analysis|commentary)\b[^<\n]*<\|message\|>)" + SPOKEN_OF,
    re.IGNORECASE | re.MULTILINE,
)
_CLOSING = (
    rf"(?:</\s?{_TAG}\s?>|\[/(?:THINK|REASONING)\]|◁/think▷|<\|end_of_thought\|>|<unused95>"
    r"|<\|(?:end_|/)think(?:ing)?\|>|\.{3}done\ thinking\.(?=\s)"
    r"|<\|channel\|>\s*final\b[^<\n]*<\|message\|>)" + SPOKEN_OF
)
_CLOSING_ANYWHERE = re.compile(_CLOSING, re.IGNORECASE)
_CLOSING_A_LINE = re.compile(rf"^[^\S\n]*{_CLOSING}|{_CLOSING}(?=[^\S\n]*$)", re.IGNORECASE | re.MULTILINE)


def answer_span(text: str) -> tuple[int, int]:
    """Where in `text` the answer begins and ends, behind reasoning that is over and before reasoning that is not.

    A template may open the reasoning in the prompt, so that the text only closes it.
    """
    is_opened = _OPENING.match(text.lstrip()) is not None
    begin = 0
    for mark in (_CLOSING_ANYWHERE if is_opened else _CLOSING_A_LINE).finditer(text):
        begin = mark.end()
    unclosed = _OPENING.search(text, begin)
    return begin, len(text) if unclosed is None else unclosed.start()


def closed(text: str) -> str:
    """A prompt that ends in opened reasoning, with that closed: the model goes on with its answer."""
    opened = re.search(rf"<({_TAG})>\s*\Z", text)
    return f"{text.rstrip()}\n\n</{opened[1]}>\n\n" if opened else text


def shows_in(text: str) -> bool:
    """True for a text with reasoning in it."""
    return answer_span(text) != (0, len(text))
