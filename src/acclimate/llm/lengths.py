"""How long texts are in tokens, about or by a tokenizer; where they may be cut, and where sentences begin."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from acclimate.base.errors import SettingError
from acclimate.base.words import SENTENCE_MARKS

CHARACTERS_PER_TOKEN = 4  # rough, and the same for every LLM: for whoever has no tokenizer at hand
_SENTENCE_END = re.compile(
    rf"(?:(?<=\w\w\w)[.!?]|(?<=\w[)\]\"'”’])[.!?])[)\]\"'”’]*(?=\s)|[{SENTENCE_MARKS}]|(?<=\S)(?=\n)"
)

# The end of a sentence, or of a line, with the blanks behind it. A full stop is none behind an initial or a short word,
# unless of Hangul; between blanks it is. Other scripts' marks need no blank.
_BEFORE_SENTENCE = re.compile(
    r"(?:(?<![.!?…])(?:(?<=[^\s.]{3})\.|(?<=[\uac00-\ud7a3])\.|(?<=\s)\.|[!?…])[.!?…]*[)\]\"'”’»]*(?=\s)"
    rf"|[{SENTENCE_MARKS}]+[)\]\"'”’»」』）]*|\n)\s*"
)
_WORD_START = re.compile(r"(?<=\s)\S")
_LONGEST_WORD = 50  # characters
_LONGEST_SENTENCE = 400  # characters; in a longer one, or text without marks, words are taken for beginnings


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
    there is one, else of a word, else all of them: much without a blank is no word, but written without blanks."""
    if len(text) <= end:
        return text
    sentences = [match.end() for match in _SENTENCE_END.finditer(text, 0, end + 1) if end / 2 <= match.end() <= end]
    if sentences:
        return text[: sentences[-1]].rstrip()
    word = next((place for place in range(end, max(0, end - _LONGEST_WORD), -1) if text[place].isspace()), end)
    while word and unicodedata.category(text[word]).startswith("M"):  # which belongs to the character before it
        word -= 1
    return text[:word].rstrip() or text[:end]


def sentence_starts(text: str) -> list[int]:
    """Where sentences of a text begin, in any script: positions of characters that are no blanks, ascending.

    Lines are sentences, too, but not what goes on in small letters on the next line. What goes on without an end is
    broken at words, every 400 characters. There is always a first one; of a blank text it is at 0.
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
