"""Long docs become passages: `doc_id#n`, n from 0, each with the doc's title.

A doc that fits stays itself, under its own id. Passages end at the end of a sentence or paragraph where one is near,
else between words, and without overlap their texts joined are the doc's text, byte for byte. Which passage is of which
doc is known from the splitting, not from the form of its id: a corpus may have ids with `#` of its own.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable

from acclimate.base.errors import SettingError
from acclimate.base.words import SENTENCE_MARKS, spans_between_blanks
from acclimate.records import Doc

AUTO = "auto"  # a number of words that depends on the docs: see `survey.passage_words`
_SENTENCE_END = re.compile(rf"""[.!?…{SENTENCE_MARKS}][.!?…{SENTENCE_MARKS}"'”’»」)\]]*$""")
_PARAGRAPH_END = re.compile(r"\n\s*\n")


def split(doc: Doc, words: int, overlap: int = 0) -> list[Doc]:
    """The passages of a doc: at most `words` words each, the first `overlap` of them repeating the last one's end.

    The doc itself when it is no longer than that, or when `words` is 0. Raises SettingError as `check` does.
    """
    check(words, overlap)
    tokens = spans_between_blanks(doc.text)
    if not words or len(tokens) <= words:
        return [doc]
    starts = [start for start, _ in tokens]
    ends = [word for word in range(1, len(tokens)) if _ends(doc.text, tokens[word - 1], starts[word])]
    spans: list[tuple[int, int]] = []  # of words
    first = 0
    while len(tokens) - first > words:
        cut = first + _length(len(tokens) - first, words, overlap, first, ends)
        spans.append((first, cut))
        first = cut - overlap
    spans.append((first, len(tokens)))
    # White space belongs to the word before it, at the start to the first word.
    starts = [0, *starts[1:], len(doc.text)]
    return [
        Doc(f"{doc.doc_id}#{number}", doc.text[starts[begin] : starts[end]], doc.title)
        for number, (begin, end) in enumerate(spans)
    ]


def check(words: int, overlap: int) -> None:
    """Raise SettingError for an overlap that is negative, or not smaller than a passage."""
    if overlap < 0 or (words and overlap >= words):
        raise SettingError(
            f"index.passage_overlap is {overlap}; expected 0 or more, and fewer than index.passage_words ({words})"
        )


def parents(passages: Iterable[str], documents: Container[str]) -> dict[str, str]:
    """passage id -> id of the doc that it was split from; docs that were not split are left out."""
    return {
        passage_id: passage_id.rpartition("#")[0]
        for passage_id in passages
        if "#" in passage_id and passage_id not in documents
    }


def _ends(text: str, word: tuple[int, int], following: int) -> bool:
    """True if a sentence or paragraph ends between this word and the next."""
    return bool(_SENTENCE_END.search(text, *word) or _PARAGRAPH_END.search(text, word[1], following))


def _length(left: int, words: int, overlap: int, first: int, ends: list[int]) -> int:
    """The number of words of the next passage: up to the best of the `ends`, which count words from the doc's start.

    As many as may be, or, where all that is `left` makes two passages, about half, so that no scrap remains.
    """
    aim = words if left + overlap > 2 * words else (left + overlap) // 2
    low, high = max(aim // 2, overlap + 1), min(words, left + overlap - aim // 2)
    candidates = ends[bisect_left(ends, first + low) : bisect_right(ends, first + high)]
    best = min(candidates, key=lambda end: abs(end - first - aim), default=first + aim)
    return max(low, min(high, best - first))
