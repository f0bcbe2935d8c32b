"""Cache the scores of a scorer on disk."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import tee
from typing import NamedTuple

from acclimate.base.digests import fingerprint
from acclimate.base.draw import draw
from acclimate.records import Scorer
from acclimate.search.scorers.lists import Pair, score_calls
from acclimate.search.value_cache import ValueCache


class _Planned(NamedTuple):
    """A call, and what of it has to be scored."""

    pairs: Sequence[Pair]
    missing: Sequence[Pair]  # pairs to be scored
    scores: list[float]  # all scores, if none are missing


@dataclass
class CachedScorer:
    """A scorer with a cache.

    If it is batch-invariant (`by_pair`), scores are cached by pair. Otherwise a call is cached as a whole, since the
    batch affects rounding; so call it with what belongs together: a query with its documents or, if it reads
    `by_document`, a document with its queries.
    """

    scorer: Scorer
    cache: ValueCache
    corpus: str  # fingerprint of the documents

    @property
    def by_document(self) -> bool:
        return getattr(self.scorer, "by_document", False)

    @property
    def by_pair(self) -> bool:
        return getattr(self.scorer, "by_pair", False)

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return self.scorer.fingerprint  # may require reading all weights

    def score(self, pairs: Sequence[Pair]) -> list[float]:
        """One float32 per (query, doc_id), in order."""
        (scores,) = self.score_calls([pairs])
        return scores

    def score_calls(self, calls: Iterable[Sequence[Pair]]) -> Iterator[list[float]]:
        """Scores of each call, in order; missing ones of several calls may be computed at once."""
        planned, ahead = tee(map(self._plan_by_pair if self.by_pair else self._plan_by_call, calls))
        fresh = score_calls(self.scorer, (missing for _, missing, _ in ahead if missing))
        for pairs, missing, scores in planned:
            if missing:
                rated = array("f", next(fresh)).tolist()
                scores = self._keep_by_pair(pairs, missing, rated) if self.by_pair else self._keep_by_call(pairs, rated)
            yield scores

    def _plan_by_call(self, pairs: Sequence[Pair]) -> _Planned:
        scores = cached_scores(self.cache, self._key_of_call(pairs), len(pairs))
        return _Planned(pairs, pairs, []) if scores is None else _Planned(pairs, [], scores)

    def _keep_by_call(self, pairs: Sequence[Pair], scores: list[float]) -> list[float]:
        if all(map(math.isfinite, scores)):  # the caller rejects other scores, so they are not cached
            cache_scores(self.cache, self._key_of_call(pairs), scores)
        return scores

    def _key_of_call(self, pairs: Sequence[Pair]) -> str:
        return fingerprint("pairs", self.fingerprint, self.corpus, [(query.text, doc_id) for query, doc_id in pairs])

    def _plan_by_pair(self, pairs: Sequence[Pair]) -> _Planned:
        known = self._known(pairs)
        unknown = {(query.text, doc_id): query for query, doc_id in pairs if draw(doc_id) not in known[query.text]}
        if unknown:
            return _Planned(pairs, [(query, doc_id) for (_, doc_id), query in unknown.items()], [])
        return _Planned(pairs, [], [known[query.text][draw(doc_id)] for query, doc_id in pairs])

    def _keep_by_pair(self, pairs: Sequence[Pair], missing: Sequence[Pair], scores: list[float]) -> list[float]:
        rated = {(query.text, doc_id): score for (query, doc_id), score in zip(missing, scores, strict=True)}
        known = self._known(pairs)  # again: an earlier call may have had the same query
        for (text, doc_id), score in rated.items():
            if math.isfinite(score):
                known[text][draw(doc_id)] = score
        self.cache.put({self._key_of_text(text): _packed(known[text]) for text in {text for text, _ in rated}})
        return [
            rated[query.text, doc_id] if (query.text, doc_id) in rated else known[query.text][draw(doc_id)]
            for query, doc_id in pairs
        ]

    def _known(self, pairs: Sequence[Pair]) -> dict[str, dict[int, float]]:
        """Query text -> cached scores of its documents."""
        keys = {query.text: self._key_of_text(query.text) for query, _ in pairs}
        packed = self.cache.get([*keys.values()])
        return {text: _unpacked(packed.get(key, b"")) for text, key in keys.items()}

    def _key_of_text(self, text: str) -> str:
        return fingerprint("pairs of", self.fingerprint, self.corpus, text)


def cached(scorers: Mapping[str, Scorer], cache: ValueCache, corpus: str) -> dict[str, CachedScorer]:
    """Scorers by name, each with this cache. corpus: fingerprint of the documents."""
    return {name: CachedScorer(scorer, cache, corpus) for name, scorer in scorers.items()}


def _packed(scores: Mapping[int, float]) -> bytes:
    """Twelve bytes per document."""
    return array("Q", scores.keys()).tobytes() + array("f", scores.values()).tobytes()


def _unpacked(packed: bytes) -> dict[int, float]:
    """The inverse of `_packed`; empty for invalid bytes."""
    n_docs, rest = divmod(len(packed), 12)
    return {} if rest else dict(zip(array("Q", packed[: 8 * n_docs]), array("f", packed[8 * n_docs :]), strict=True))


def cached_scores(cache: ValueCache, key: str, n_scores: int) -> list[float] | None:
    """The cached `n_scores` float32 scores under a key; None if they are not there."""
    packed = cache.get([key]).get(key, b"")
    return array("f", packed).tolist() if packed and len(packed) == 4 * n_scores else None


def cache_scores(cache: ValueCache, key: str, scores: Sequence[float]) -> None:
    """Cache scores in float32; infinite ones are allowed."""
    cache.put({key: array("f", scores).tobytes()})
