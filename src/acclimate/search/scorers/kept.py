"""Scores on disk, so that nothing is rated twice."""

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
from acclimate.search.kept_values import KeptValues
from acclimate.search.scorers.lists import Pair, score_calls


class _Planned(NamedTuple):
    """A call."""

    pairs: Sequence[Pair]
    missing: Sequence[Pair]  # of them, what is to be rated
    scores: list[float]  # all of them, where nothing is


@dataclass
class KeptScorer:
    """A scorer whose answers are kept: what it was once asked is read from the store.

    Where a scorer rates each pair alike in any company (`by_pair`), it is asked about pairs that are not kept. Else a
    call is kept as a whole, because the pairs in a batch move a score's rounding. So ask for what belongs together and
    no more: one query with its documents, or where a scorer reads `by_document`, one document with its queries.
    """

    scorer: Scorer
    kept: KeptValues
    corpus: str  # the fingerprint of the docs that it reads

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
        return self.scorer.fingerprint  # which may take the reading of all its weights

    def score(self, pairs: Sequence[Pair]) -> list[float]:
        """One float32 per (query, doc_id), in order."""
        (scores,) = self.score_calls([pairs])
        return scores

    def score_calls(self, calls: Iterable[Sequence[Pair]]) -> Iterator[list[float]]:
        """The same of each call, in order; what is not kept of some calls may be rated at once."""
        planned, ahead = tee(map(self._plan_by_pair if self.by_pair else self._plan_by_call, calls))
        fresh = score_calls(self.scorer, (missing for _, missing, _ in ahead if missing))
        for pairs, missing, scores in planned:
            if missing:
                rated = array("f", next(fresh)).tolist()
                scores = self._keep_by_pair(pairs, missing, rated) if self.by_pair else self._keep_by_call(pairs, rated)
            yield scores

    def _plan_by_call(self, pairs: Sequence[Pair]) -> _Planned:
        scores = kept_scores(self.kept, self._key_of_call(pairs), len(pairs))
        return _Planned(pairs, pairs, []) if scores is None else _Planned(pairs, [], scores)

    def _keep_by_call(self, pairs: Sequence[Pair], scores: list[float]) -> list[float]:
        if all(map(math.isfinite, scores)):  # others are refused by whoever asked, and asked for again
            keep_scores(self.kept, self._key_of_call(pairs), scores)
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
        known = self._known(pairs)  # again: a call before this one may have had the same query
        for (text, doc_id), score in rated.items():
            if math.isfinite(score):
                known[text][draw(doc_id)] = score
        self.kept.put({self._key_of_text(text): _packed(known[text]) for text in {text for text, _ in rated}})
        return [
            rated[query.text, doc_id] if (query.text, doc_id) in rated else known[query.text][draw(doc_id)]
            for query, doc_id in pairs
        ]

    def _known(self, pairs: Sequence[Pair]) -> dict[str, dict[int, float]]:
        """By the text of a query, what was said of its documents so far."""
        keys = {query.text: self._key_of_text(query.text) for query, _ in pairs}
        packed = self.kept.get([*keys.values()])
        return {text: _unpacked(packed.get(key, b"")) for text, key in keys.items()}

    def _key_of_text(self, text: str) -> str:
        return fingerprint("pairs of", self.fingerprint, self.corpus, text)


def _packed(scores: Mapping[int, float]) -> bytes:
    """Twelve bytes a document."""
    return array("Q", scores.keys()).tobytes() + array("f", scores.values()).tobytes()


def _unpacked(packed: bytes) -> dict[int, float]:
    """What `_packed` made; nothing of what it did not."""
    n_docs, rest = divmod(len(packed), 12)
    return {} if rest else dict(zip(array("Q", packed[: 8 * n_docs]), array("f", packed[8 * n_docs :]), strict=True))


def kept_scores(kept: KeptValues, key: str, n_scores: int) -> list[float] | None:
    """The `n_scores` float32 scores of that key, if they are kept."""
    packed = kept.get([key]).get(key, b"")
    return array("f", packed).tolist() if packed and len(packed) == 4 * n_scores else None


def keep_scores(kept: KeptValues, key: str, scores: Sequence[float]) -> None:
    """In float32, which may be infinite."""
    kept.put({key: array("f", scores).tobytes()})
