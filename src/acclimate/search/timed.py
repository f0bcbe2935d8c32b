"""Scores on disk with the seconds that they took: what is measured again after a kill has the latency it had before."""

from __future__ import annotations

import math
import struct
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from acclimate.base.digests import fingerprint
from acclimate.records import Query, Scorer
from acclimate.search.kept_values import KeptValues


@dataclass
class TimedScorer:
    """A scorer whose answers are kept, each call's as a whole; a killed run loses the call at hand.

    `clock` counts an answer that is read again as if the scorer had been asked. The first answer of all is asked for
    twice, and the second time counts: before, the model may not be loaded.
    """

    scorer: Scorer
    kept: KeptValues
    corpus: str  # the fingerprint of the docs that it reads
    saved: float = 0.0  # seconds that answers took which were read
    is_warm: bool = False

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return self.scorer.fingerprint  # which may take the reading of all its weights

    def clock(self) -> float:
        """Seconds, of which only differences mean something."""
        return time.perf_counter() + self.saved

    def score(self, pairs: Sequence[tuple[Query, str]]) -> list[float]:
        """One float32 per (query, doc_id), in order."""
        asked = [(query.text, doc_id) for query, doc_id in pairs]
        key = fingerprint("timed pairs", self.fingerprint, self.corpus, asked)
        packed = self.kept.get([key]).get(key, b"")
        if len(packed) == 8 + 4 * len(pairs):
            self.saved += struct.unpack("<d", packed[:8])[0]
            return array("f", packed[8:]).tolist()
        if not self.is_warm:
            self.scorer.score(pairs)
            self.is_warm = True
        started = time.perf_counter()
        scores = array("f", self.scorer.score(pairs))
        if all(map(math.isfinite, scores)):
            self.kept.put({key: struct.pack("<d", time.perf_counter() - started) + scores.tobytes()})
        return scores.tolist()
