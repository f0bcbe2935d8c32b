"""Scores on disk, so that nothing is rated twice."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from acclimate.base.digests import fingerprint
from acclimate.records import Query, Scorer
from acclimate.search.kept_values import KeptValues


@dataclass
class KeptScorer:
    """A scorer whose answers are kept: what it was once asked in one call is read from the store.

    A call is kept as a whole, because the pairs in a batch move a score's rounding. So ask for what belongs together
    and no more: one query with its documents, or where a scorer reads `by_document`, one document with its queries.
    """

    scorer: Scorer
    kept: KeptValues
    corpus: str  # the fingerprint of the docs that it reads

    @property
    def by_document(self) -> bool:
        return getattr(self.scorer, "by_document", False)

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return self.scorer.fingerprint  # which may take the reading of all its weights

    def score(self, pairs: Sequence[tuple[Query, str]]) -> list[float]:
        """One float32 per (query, doc_id), in order."""
        key = fingerprint("pairs", self.fingerprint, self.corpus, [(query.text, doc_id) for query, doc_id in pairs])
        scores = kept_scores(self.kept, key, len(pairs))
        if scores is None:
            scores = array("f", self.scorer.score(pairs)).tolist()
            if all(map(math.isfinite, scores)):  # others are refused by whoever asked, and asked for again
                keep_scores(self.kept, key, scores)
        return scores


def kept_scores(kept: KeptValues, key: str, n_scores: int) -> list[float] | None:
    """The `n_scores` float32 scores of that key, if they are kept."""
    packed = kept.get([key]).get(key, b"")
    return array("f", packed).tolist() if packed and len(packed) == 4 * n_scores else None


def keep_scores(kept: KeptValues, key: str, scores: Sequence[float]) -> None:
    """In float32, which may be infinite."""
    kept.put({key: array("f", scores).tobytes()})
