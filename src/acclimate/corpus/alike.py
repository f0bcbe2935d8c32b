"""Queries that are nearly the same: those of which most words are shared (Jaccard distance of their sets of words)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from acclimate.base.words import shared, words_of


class AlikeQueries:
    """Finds, among the queries that were added, those that are nearly a given one.

    Only queries that share one of their rarest words are compared, so the work does not grow with the square.
    """

    def __init__(self, texts: Mapping[str, str], min_difference: float) -> None:
        """texts: all queries that there will be, by id. min_difference: two are the same below this distance."""
        self.words = {query_id: frozenset(words_of(text)) for query_id, text in texts.items()}
        self._min_difference = min_difference
        self._count = Counter(word for words in self.words.values() for word in words)
        self._by_word: dict[str, list[str]] = {}

    def add(self, query_id: str) -> None:
        for word in self._rarest(query_id):
            self._by_word.setdefault(word, []).append(query_id)

    def like(self, query_id: str) -> list[str]:
        """The ids of those that were added and are nearly this one, in the order in which they were."""
        own = self.words[query_id]
        rivals = dict.fromkeys(rival for word in self._rarest(query_id) for rival in self._by_word.get(word, ()))
        return [rival for rival in rivals if 1 - shared(own, self.words[rival]) < self._min_difference]

    def _rarest(self, query_id: str) -> list[str]:
        # Sets at least 1 - d alike share a word among the rarest ceil(d * size) + 1 of each (prefix filtering).
        own = self.words[query_id]
        ordered = sorted(own, key=lambda word: (self._count[word], word))
        return ordered[: int(self._min_difference * len(own)) + 1]
