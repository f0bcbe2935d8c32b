"""Lengths of texts in tokens, estimated; and where to truncate them, and where sentences begin."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from acclimate.base.errors import SettingError
from acclimate.base.words import SENTENCE_MARKS

CHARACTERS_PER_TOKEN = 4  # rough, the same for every LLM, if no tokenizer is available
_SENTENCE_END = re.compile(
    rf"(?:(?<=\w\w\w)[.!?]|(?<=\w[)\]\"'”’])[.!?])[)\]\"'”’]*(?=\s)|[{SENTENCE_MARKS}]|(?<=\S)(?=\n)"
)

# The end of a sentence or line, with following blanks. A full stop after an initial or a short word does not count,
# except after Hangul; between blanks it does. Marks of other scripts need no blank.
_BEFORE_SENTENCE = re.compile(
    r"(?:(?<![.!?…])(?:(?<=[^\s.]{3})\.|(?<=[\uac00-\ud7a3])\.|(?<=\s)\.|[!?…])[.!?…]*[)\]\"'”’»]*(?=\s)"
    rf"|[{SENTENCE_MARKS}]+[)\]\"'”’»」』）]*|\n)\s*"
)
_WORD_START = re.compile(r"(?<=\s)\S")
_LONGEST_WORD = 50  # characters
_LONGEST_SENTENCE = 400  # characters; longer sentences, and text without marks, are split at words


def check_room(name: str, prompt: str, tokens: int, new_tokens: int, context: int) -> None:
    """Raises SettingError for an empty prompt, or one that leaves no room for `new_tokens` in the context."""
    if not tokens or tokens + new_tokens > context:
        raise SettingError(
            f"a prompt of {tokens} tokens and {new_tokens} new ones: {name} takes 1 to {context} together; "
            f"the prompt begins {prompt[:60]!r}"
        )


def about_tokens(text: str) -> int:
    """Estimated number of tokens: one per four ASCII characters, or per other character."""
    n_others = sum(not char.isascii() for char in text)
    return (len(text) - n_others) // CHARACTERS_PER_TOKEN + n_others + 1


def characters_in(text: str, max_tokens: int) -> int:
    """Number of characters in the first `max_tokens` tokens, estimated."""
    room = max_tokens * CHARACTERS_PER_TOKEN
    for position, char in enumerate(text):
        room -= 1 if char.isascii() else CHARACTERS_PER_TOKEN
        if room < 0:
            return position
    return len(text)


def cut_at(text: str, end: int) -> str:
    """Truncate `text` to `end` characters: after a sentence in its second half, else after a word.

    A long run without blanks is no word, but a script without blanks, and is cut anywhere.
    """
    if len(text) <= end:
        return text
    sentences = [match.end() for match in _SENTENCE_END.finditer(text, 0, end + 1) if end / 2 <= match.end() <= end]
    if sentences:
        return text[: sentences[-1]].rstrip()
    word = next((place for place in range(end, max(0, end - _LONGEST_WORD), -1) if text[place].isspace()), end)
    while word and unicodedata.category(text[word]).startswith("M"):  # combining marks belong to the character before
        word -= 1
    return text[:word].rstrip() or text[:end]


def sentence_starts(text: str) -> list[int]:
    """Positions where sentences begin, in any script; ascending, never at a blank.

    Lines are sentences, too, except for continuations in lower case. Longer runs are split at words every 400
    characters. The list is never empty; for a blank text it is [0].
    """
    text = text.rstrip()
    starts = [len(text) - len(text.lstrip())]
    for match in _BEFORE_SENTENCE.finditer(text, starts[0]):
        goes_on = (
            match[0].startswith("\n") and match[0].count("\n") == 1 and text[match.end() : match.end() + 1].islower()
        )
        if not goes_on and match.end() < len(text):
            starts.append(match.end())
    broken: list[int] = []
    for start, following in pairwise([*starts, len(text)]):
        broken.append(start)
        while word := _WORD_START.search(text, broken[-1] + _LONGEST_SENTENCE, following):
            broken.append(word.start())
    return broken
