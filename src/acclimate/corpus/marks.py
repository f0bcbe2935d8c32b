"""Highlighting: the words of a text that match a query by BM25's terms, and the part of the text with most of them.

A part with more of the query's terms comes before one that repeats some of them more often.

BM25 also counts words such as "how" and "can", as its list of English stop words is short. They explain no ranking, so
they are marked only if the query has no other words.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property, lru_cache
from typing import NamedTuple

from acclimate.base.text import printable
from acclimate.base.words import spans_of
from acclimate.corpus.analyzer import Analyzer, stop_words_of

_BEFORE = 60  # characters shown before the first marked word
_LONGEST = 20_000  # characters of a document examined
_WORDS = 1 << 16  # whose terms are kept: most of a text are common words
_FUNCTION_WORDS = {"en": "EN_PLUS", "ru": "RUSSIAN"}  # lists of bm25s, beyond what the analyzer drops


class Piece(NamedTuple):
    """A part of a text."""

    text: str
    is_match: bool


class _Span(NamedTuple):
    """A word with terms of the query."""

    start: int
    end: int
    terms: frozenset[str]


class Marker:
    """Marks the words of texts that share a term with a query."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._terms_of = lru_cache(_WORDS)(lambda word: frozenset(analyzer(word)))

    def marked(self, query: str, text: str, *, chars: int | None = None) -> list[Piece]:
        """`text` on one line in pieces: all of it, or the part of about `chars` that shares most with the query."""
        text = " ".join(printable(text[:_LONGEST]).split())
        terms = {*self._analyzer(query)}
        terms = terms - self._function_words or terms

        spans = [
            _Span(start, end, common)
            for start, end in spans_of(text)
            if (common := self._terms_of(text[start:end]) & terms)
        ]
        start, end = _window(spans, len(text), chars)
        if start:  # start at the beginning of a word, if words are separated by spaces
            start = text.find(" ", start, start + _BEFORE) + 1 or start
        if end < len(text):
            end = max(text.rfind(" ", end - _BEFORE, end), end - _BEFORE)
        pieces = [Piece("…", False)] if start else []
        marked_to = start
        for begin, stop, _ in spans:
            if start <= begin and stop <= end:
                pieces += [Piece(text[marked_to:begin], False), Piece(text[begin:stop], True)]
                marked_to = stop
        pieces += [Piece(text[marked_to:end], False), Piece("…" if end < len(text) else "", False)]
        return [piece for piece in pieces if piece.text]

    def part(self, query: str, text: str, chars: int) -> str:
        """The part of about `chars` that shares most with the query, on one line."""
        return "".join(piece.text for piece in self.marked(query, text, chars=chars))

    @cached_property
    def _function_words(self) -> frozenset[str]:
        name = _FUNCTION_WORDS.get(self._analyzer.language)
        words = stop_words_of(name) if name else ()
        return frozenset(term for word in words for term in self._analyzer(word))


def _window(spans: list[_Span], length: int, chars: int | None) -> tuple[int, int]:
    """The first window of `chars` characters that contains the most terms, and of such the most spans."""
    if chars is None or length <= chars:
        return 0, length
    best, highest = 0, (0, 0)
    ends = [span.end for span in spans]
    for number, span in enumerate(spans):
        start = max(0, min(span.start - _BEFORE, length - chars))
        inside = spans[number : bisect_right(ends, start + chars)]
        contained = len(frozenset().union(*(each.terms for each in inside))), len(inside)
        if contained > highest:
            best, highest = start, contained
    return best, best + chars
