"""Scores on disk, so that nothing is rated twice."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from acclimate.base.digests import fingerprint
from acclimate.base.draw import draw
from acclimate.records import Query, Scorer
from acclimate.search.kept_values import KeptValues


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

    def score(self, pairs: Sequence[tuple[Query, str]]) -> list[float]:
        """One float32 per (query, doc_id), in order."""
        if self.by_pair:
            return self._score_by_pair(pairs)
        key = fingerprint("pairs", self.fingerprint, self.corpus, [(query.text, doc_id) for query, doc_id in pairs])
        scores = kept_scores(self.kept, key, len(pairs))
        if scores is None:
            scores = array("f", self.scorer.score(pairs)).tolist()
            if all(map(math.isfinite, scores)):  # others are refused by whoever asked, and asked for again
                keep_scores(self.kept, key, scores)
        return scores

    def _score_by_pair(self, pairs: Sequence[tuple[Query, str]]) -> list[float]:
        """The same; under a query's text is kept what was said of its documents so far."""
        texts = dict.fromkeys(query.text for query, _ in pairs)
        keys = {text: fingerprint("pairs of", self.fingerprint, self.corpus, text) for text in texts}
        packed = self.kept.get([*keys.values()])
        known = {text: _unpacked(packed.get(key, b"")) for text, key in keys.items()}
        unknown = {(query.text, doc_id): query for query, doc_id in pairs if draw(doc_id) not in known[query.text]}
        scores = self.scorer.score([(query, doc_id) for (_, doc_id), query in unknown.items()]) if unknown else []
        rated = dict(zip(unknown, array("f", scores), strict=True))
        for (text, doc_id), score in rated.items():
            if math.isfinite(score):
                known[text][draw(doc_id)] = score
        self.kept.put({keys[text]: _packed(known[text]) for text in {text for text, _ in rated}})
        return [
            rated[query.text, doc_id] if (query.text, doc_id) in rated else known[query.text][draw(doc_id)]
            for query, doc_id in pairs
        ]


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
