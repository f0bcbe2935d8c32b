"""Near-duplicates by Jaccard similarity: of documents by shingles of three words, of queries by words.

Two documents on one topic share most of their words and are still different; only equal runs of words (shingles, Broder
1997) show that one is a copy. A query has a handful of words, and their order changes little.

Documents may be many: MinHash (datasketch) finds and estimates likely pairs, and the exact Jaccard similarity of their
shingles decides. Queries are compared exactly, with those that share one of their rarest words.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from acclimate.base.words import normalized, words_of
from acclimate.records import Doc, SyntheticQuery

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHINGLE = 3  # words
_HASHES = 128
_CACHED_DOCS = 10_000
_RECALL = 0.999  # for pairs exactly at the threshold; higher for more similar ones
_SLACK = 0.15  # allowed underestimate of a pair's similarity: over three standard errors


class DistinctTexts:
    """A set of texts without near-duplicates: `add` keeps a text unless it nearly repeats a kept one.

    A text is compared only with kept ones, so the work grows with those, not with the corpus.
    """

    def __init__(self, threshold: float) -> None:
        """threshold: smallest Jaccard similarity of near-duplicates' shingles, in (0, 1)."""
        from datasketch import MinHash, MinHashLSH

        self._threshold = threshold
        self._index = MinHashLSH(num_perm=_HASHES, params=_bands(threshold))
        self._empty = MinHash(_HASHES, seed=1, hashfunc=int)  # shingles are already hashes
        self._shingles: list[NDArray[np.uint32]] = []
        self._signatures = np.empty((0, _HASHES), dtype=self._empty.hashvalues.dtype)

    def add(self, text: str) -> bool:
        """Keep a text, or return False if it nearly repeats a kept one."""
        count = len(self._shingles)
        return self.number(text) == count

    def number(self, text: str) -> int:
        """The number (from 0) of the first kept text that this one nearly repeats; if there is none, it is kept."""
        shingles = _shingles(text)
        minhash = self._empty.copy()
        minhash.update_batch(shingles.tolist())
        signature = minhash.hashvalues
        rows = np.array(self._index.query(minhash), dtype=np.int64)
        estimates = (self._signatures[rows] == signature).mean(axis=1)
        likely = rows[estimates >= self._threshold - _SLACK]
        for row in sorted(likely.tolist()):
            if _shingle_jaccard(shingles, self._shingles[row]) >= self._threshold:
                return row
        row = len(self._shingles)
        if row == len(self._signatures):
            self._signatures = np.concatenate([self._signatures, np.empty((row + 256, _HASHES), signature.dtype)])
        self._signatures[row] = signature
        self._index.insert(row, minhash)
        self._shingles.append(shingles)
        return row


def groups_of(
    doc_ids: Iterable[str],
    corpus: Mapping[str, Doc],
    threshold: float,
    *,
    parents: Mapping[str, str],
    together: Iterable[tuple[str, str]],
) -> dict[str, str]:
    """Each document's group: the transitive closure of near-duplicates, passages of one document, and the pairs in
    `together`. Returns doc_id -> name of its group.

    threshold: as for `DistinctTexts`; at 1 only equal texts are duplicates.
    """
    doc_ids = sorted(set(doc_ids))
    group: dict[str, str] = {}  # of a document, another of its group, and so on to the one that names it

    def name_of(doc_id: str) -> str:
        doc_id = parents.get(doc_id, doc_id)
        while (next_id := group.setdefault(doc_id, doc_id)) != doc_id:
            group[doc_id] = group[next_id]
            doc_id = next_id
        return doc_id

    def join(doc_id: str, other_id: str) -> None:
        first, second = sorted((name_of(doc_id), name_of(other_id)))
        group[second] = first

    texts = DistinctTexts(threshold) if threshold < 1 else None
    first_of: dict[int | str, str] = {}  # a text, or the number of those that nearly are it -> the first document
    for doc_id in doc_ids:
        text = corpus[doc_id].default_text()
        join(first_of.setdefault(normalized(text) if texts is None else texts.number(text), doc_id), doc_id)
    for doc_id, other_id in together:
        join(doc_id, other_id)
    return {doc_id: name_of(doc_id) for doc_id in doc_ids}


class NearDuplicateDocs:
    """Tells whether two documents of a corpus are near-duplicates. Caches the shingles of recent documents."""

    def __init__(self, corpus: Mapping[str, Doc], threshold: float) -> None:
        """threshold: as for `DistinctTexts`."""
        self._shingles = lru_cache(maxsize=_CACHED_DOCS)(lambda doc_id: _shingles(corpus[doc_id].default_text()))
        self._threshold = threshold

    def __call__(self, doc_id: str, other_id: str) -> bool:
        """True for the ids of two near-duplicates."""
        first, second = self._shingles(doc_id), self._shingles(other_id)
        few, many = sorted((len(first), len(second)))
        return few >= self._threshold * many and _shingle_jaccard(first, second) >= self._threshold


class NearDuplicateQueries:
    """Finds the near-duplicates of a query among added ones.

    Only queries that share one of their rarest words are compared, so the work does not grow with the square.
    """

    def __init__(self, texts: Mapping[str, str], min_difference: float) -> None:
        """texts: all queries that there will be, by id. min_difference: the Jaccard distance of their words, in [0, 1],
        below which two are the same."""
        self.words = {query_id: frozenset(words_of(text)) for query_id, text in texts.items()}
        self._min_difference = min_difference
        self._count = Counter(word for words in self.words.values() for word in words)
        self._ids_by_word: dict[str, list[str]] = {}

    def add(self, query_id: str) -> None:
        """Add a query."""
        for word in self._rarest(query_id):
            self._ids_by_word.setdefault(word, []).append(query_id)

    def matches(self, query_id: str) -> list[str]:
        """Ids of added queries that are near-duplicates of this one, in the order of addition."""
        words = self.words[query_id]
        rivals = dict.fromkeys(rival for word in self._rarest(query_id) for rival in self._ids_by_word.get(word, ()))
        return [rival for rival in rivals if 1 - jaccard(words, self.words[rival]) < self._min_difference]

    def _rarest(self, query_id: str) -> list[str]:
        # Prefix filtering: sets of similarity at least 1 - d share a word among the rarest floor(d * size) + 1 of each.
        words = self.words[query_id]
        ordered = sorted(words, key=lambda word: (self._count[word], word))
        return ordered[: int(self._min_difference * len(words)) + 1]


def near_duplicate_queries(queries: Sequence[SyntheticQuery], min_difference: float) -> set[str]:
    """Ids of queries whose words are nearly those of a query with a higher log-probability, or that have none."""
    kept = NearDuplicateQueries({query.query_id: query.text for query in queries}, min_difference)
    dropped: set[str] = set()
    for query in best_first(queries, {query.query_id: query.logprob for query in queries}):
        if not kept.words[query.query_id] or kept.matches(query.query_id):
            dropped.add(query.query_id)
        else:
            kept.add(query.query_id)
    return dropped


def best_first(queries: Sequence[SyntheticQuery], scores: Mapping[str, float]) -> list[SyntheticQuery]:
    """The queries by score, the highest first and those without one last; ties by id."""

    def key(query: SyntheticQuery) -> tuple[float, str]:
        score = scores[query.query_id]
        return (math.inf if math.isnan(score) else -score, query.query_id)

    return sorted(queries, key=key)


def jaccard(words: Set[str], others: Set[str]) -> float:
    """Jaccard similarity of two sets, in [0, 1]; 0 for two empty ones."""
    return len(words & others) / len(words | others) if words or others else 0.0


def _bands(threshold: float) -> tuple[int, int]:
    """(bands, rows per band) of LSH: the most rows, and so the fewest false positives, that the recall allows."""
    for rows in range(_HASHES, 1, -1):
        bands = _HASHES // rows
        if 1 - (1 - threshold**rows) ** bands >= _RECALL:
            return bands, rows
    return _HASHES, 1


def _shingles(text: str) -> NDArray[np.uint32]:
    """Sorted distinct hashes of a text's runs of three words; a shorter text is one run."""
    words = words_of(text) or text.split()
    runs = {" ".join(words[start : start + _SHINGLE]) for start in range(max(1, len(words) - _SHINGLE + 1))}
    hashed = b"".join(hashlib.blake2b(run.encode("utf-8", "surrogatepass"), digest_size=4).digest() for run in runs)
    return np.unique(np.frombuffer(hashed, dtype="<u4"))


def _shingle_jaccard(shingles: NDArray[np.uint32], others: NDArray[np.uint32]) -> float:
    shared = len(np.intersect1d(shingles, others, assume_unique=True))
    return shared / (len(shingles) + len(others) - shared)
