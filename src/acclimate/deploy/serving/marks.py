"""Highlighting: the words of a text that match a query by BM25's terms, and the part of the text with most of them.

BM25 also counts words such as "how" and "can", as its list of English stop words is short. They explain no ranking, so
they are marked only if the query has no other words.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import NamedTuple

from acclimate.base.text import printable
from acclimate.base.words import spans_of
from acclimate.corpus.analyzer import Analyzer, stop_words_of

_BEFORE = 60  # characters shown before the first marked word
_LONGEST = 20_000  # characters of a document examined
_FUNCTION_WORDS = {"en": "EN_PLUS", "ru": "RUSSIAN"}  # lists of bm25s, beyond what the analyzer drops


class Piece(NamedTuple):
    """A part of a text."""

    text: str
    is_match: bool


class Marker:
    """Marks the words of texts that share a term with a query."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer

    def marked(self, query: str, text: str, *, chars: int | None = None) -> list[Piece]:
        """`text` on one line in pieces: all of it, or the part of about `chars` that shares most with the query."""
        text = " ".join(printable(text[:_LONGEST]).split())
        terms = {*self._analyzer(query)}
        terms = terms - self._function_words or terms
        spans = [(start, end) for start, end in spans_of(text) if terms.intersection(self._analyzer(text[start:end]))]
        start, end = _window(spans, len(text), chars)
        if start:  # start at the beginning of a word, if words are separated by spaces
            start = text.find(" ", start, start + _BEFORE) + 1 or start
        if end < len(text):
            end = max(text.rfind(" ", end - _BEFORE, end), end - _BEFORE)
        pieces = [Piece("…", False)] if start else []
        marked_to = start
        for begin, stop in spans:
            if start <= begin and stop <= end:
                pieces += [Piece(text[marked_to:begin], False), Piece(text[begin:stop], True)]
                marked_to = stop
        pieces += [Piece(text[marked_to:end], False), Piece("…" if end < len(text) else "", False)]
        return [piece for piece in pieces if piece.text]

    @cached_property
    def _function_words(self) -> frozenset[str]:
        name = _FUNCTION_WORDS.get(self._analyzer.language)
        words = stop_words_of(name) if name else ()
        return frozenset(term for word in words for term in self._analyzer(word))


def _window(spans: list[tuple[int, int]], length: int, chars: int | None) -> tuple[int, int]:
    """The first window of `chars` characters that contains the most spans."""
    if chars is None or length <= chars:
        return 0, length
    best, highest = 0, 0
    ends = [end for _, end in spans]
    for number, (begin, _) in enumerate(spans):
        start = max(0, min(begin - _BEFORE, length - chars))
        count = bisect_right(ends, start + chars) - number
        if count > highest:
            best, highest = start, count
    return best, best + chars
