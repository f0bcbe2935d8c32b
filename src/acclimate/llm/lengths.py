"""How long texts are in tokens, about or by a tokenizer, and where they may be cut."""

from __future__ import annotations

import re

from acclimate.base.errors import SettingError

CHARACTERS_PER_TOKEN = 4  # rough, and the same for every LLM: for whoever has no tokenizer at hand
_SENTENCE_END = re.compile(r"(?:(?<=\w\w\w)[.!?]|(?<=\w[)\]\"'”’])[.!?])[)\]\"'”’]*(?=\s)|[。！？]|(?<=\S)(?=\n)")


def check_room(name: str, prompt: str, tokens: int, new_tokens: int, context: int) -> None:
    """Raises SettingError for a prompt that is empty, or has no room for `new_tokens` in an LLM's context."""
    if not tokens or tokens + new_tokens > context:
        raise SettingError(
            f"a prompt of {tokens} tokens and {new_tokens} new ones: {name} takes 1 to {context} together; "
            f"the prompt begins {prompt[:60]!r}"
        )


def about_tokens(text: str) -> int:
    """How many tokens a text has, about: one for four ASCII characters, or for one other."""
    n_others = sum(not char.isascii() for char in text)
    return (len(text) - n_others) // CHARACTERS_PER_TOKEN + n_others + 1


def characters_in(text: str, max_tokens: int) -> int:
    """How many characters at the start of a text are about `max_tokens` tokens."""
    room = max_tokens * CHARACTERS_PER_TOKEN
    for position, char in enumerate(text):
        room -= 1 if char.isascii() else CHARACTERS_PER_TOKEN
        if room < 0:
            return position
    return len(text)


def cut_at(text: str, end: int) -> str:
    """The start of `text` in at most `end` characters, 1 or more: to the end of a sentence in its second half where
    there is one, else of a word, else all of them."""
    if len(text) <= end:
        return text
    sentences = [match.end() for match in _SENTENCE_END.finditer(text, 0, end + 1) if end / 2 <= match.end() <= end]
    if sentences:
        return text[: sentences[-1]].rstrip()
    word = (
        end
        if text[end].isspace()
        else max((position for position in range(end) if text[position].isspace()), default=end)
    )
    return text[:word].rstrip() or text[:end]
