"""Near-duplicates: texts that share most of their runs of three words (MinHash, Broder 1997, in datasketch).

A text is compared only with those that were kept before it, so the work grows with what is kept and not with the
corpus. MinHash finds who may be alike and estimates how much; the last word has a count of the runs themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from acclimate.base.words import words_of
from acclimate.records import Doc

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RUN = 3  # words
_HASHES = 128
_KEPT = 10_000  # documents
_RECALL = 0.999  # of pairs exactly as alike as asked for; those more alike are found more surely
_SLACK = 0.15  # how far below its similarity a pair may be estimated: three standard errors and more


class Similar:
    """Texts that differ: `add` keeps one unless it is nearly one that was kept."""

    def __init__(self, threshold: float) -> None:
        """threshold: Jaccard similarity of runs of words, in (0, 1), from which on two texts are near-duplicates."""
        from datasketch import MinHash, MinHashLSH

        self._threshold = threshold
        self._index = MinHashLSH(num_perm=_HASHES, params=_bands(threshold))
        self._empty = MinHash(_HASHES, seed=1, hashfunc=int)  # the runs are hashes already
        self._runs: list[NDArray[np.uint32]] = []
        self._signatures = np.empty((0, _HASHES), dtype=self._empty.hashvalues.dtype)

    def add(self, text: str) -> bool:
        """Keep a text; False, and it is not kept, when it is nearly one that was."""
        runs = _runs(text)
        minhash = self._empty.copy()
        minhash.update_batch(runs.tolist())
        own = minhash.hashvalues
        found = np.array(self._index.query(minhash), dtype=np.int64)
        about = (self._signatures[found] == own).mean(axis=1)
        if any(_jaccard(runs, self._runs[at]) >= self._threshold for at in found[about >= self._threshold - _SLACK]):
            return False
        at = len(self._runs)
        if at == len(self._signatures):
            self._signatures = np.concatenate([self._signatures, np.empty((at + 256, _HASHES), dtype=own.dtype)])
        self._signatures[at] = own
        self._index.insert(at, minhash)
        self._runs.append(runs)
        return True


class Alike:
    """Whether two documents of a corpus are near-duplicates. The runs of those looked at last are kept."""

    def __init__(self, corpus: Mapping[str, Doc], threshold: float) -> None:
        """threshold: as for `Similar`."""
        self._runs = lru_cache(maxsize=_KEPT)(lambda doc_id: _runs(corpus[doc_id].default_text()))
        self._threshold = threshold

    def __call__(self, one: str, other: str) -> bool:
        """True for the ids of two documents that are."""
        first, second = self._runs(one), self._runs(other)
        few, many = sorted((len(first), len(second)))
        return few >= self._threshold * many and _jaccard(first, second) >= self._threshold


def _bands(threshold: float) -> tuple[int, int]:
    """(bands, rows of each): as many rows, and so as few false alarms, as the recall allows."""
    for rows in range(_HASHES, 1, -1):
        bands = _HASHES // rows
        if 1 - (1 - threshold**rows) ** bands >= _RECALL:
            return bands, rows
    return _HASHES, 1


def _runs(text: str) -> NDArray[np.uint32]:
    """The hashes of a text's runs of three words, sorted, each once; a text of fewer words is one run."""
    words = words_of(text) or text.split()
    runs = {" ".join(words[at : at + _RUN]) for at in range(max(1, len(words) - _RUN + 1))}
    hashed = b"".join(hashlib.blake2b(run.encode("utf-8", "surrogatepass"), digest_size=4).digest() for run in runs)
    return np.unique(np.frombuffer(hashed, dtype="<u4"))


def _jaccard(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)
