"""Term counts of each document, to rebuild BM25 of a changed corpus without reading unchanged documents.

bm25s stores weights, which all change when documents are added, as they depend on average length and document
frequencies. From counts, the weights follow quickly and bit-identically (tests/test_update.py).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from acclimate.base.files import read_json, write_json
from acclimate.corpus.analyzer import Analyzer
from acclimate.search.bm25 import BM25, NO_TERM, Postings, Weights

if TYPE_CHECKING:
    from numpy.typing import NDArray


_AT_ONCE = 1 << 20  # entries weighted at once


@dataclass(frozen=True)
class TermCounts:
    """Document i has terms `terms[ends[i]:ends[i + 1]]`, distinct positions in the vocabulary, with `counts`."""

    vocabulary: list[str]
    ends: NDArray[np.int64]  # (n_docs + 1,)
    terms: NDArray[np.int32]
    counts: NDArray[np.int32]

    @classmethod
    def of(cls, texts: Iterable[str], analyzer: Analyzer) -> TermCounts:
        """Count the terms of texts, in order."""
        vocabulary: dict[str, int] = {}
        ends, terms, counts = array("q", [0]), array("i"), array("i")
        for text in texts:
            of_text = Counter(analyzer(text) or [NO_TERM])
            terms.extend([vocabulary.setdefault(term, len(vocabulary)) for term in of_text])
            counts.extend(of_text.values())
            ends.append(len(terms))
        arrays = np.frombuffer(ends, np.int64), np.frombuffer(terms, np.int32), np.frombuffer(counts, np.int32)
        return cls(list(vocabulary), *arrays)

    @classmethod
    def open(cls, folder: Path) -> TermCounts:
        """Read what `save` wrote."""
        arrays = (np.load(folder / f"{name}.npy") for name in ("ends", "terms", "counts"))
        return cls(read_json(folder / "vocabulary.json"), *arrays)

    def save(self, folder: Path) -> None:
        """Write to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("ends", "terms", "counts"):
            np.save(folder / f"{name}.npy", getattr(self, name))
        write_json(folder / "vocabulary.json", self.vocabulary)

    def concat(self, later: TermCounts) -> TermCounts:
        """These documents followed by others."""
        places = {term: place for place, term in enumerate(self.vocabulary)}
        known = np.array([places.setdefault(term, len(places)) for term in later.vocabulary], np.int32)
        return TermCounts(
            list(places),
            np.concatenate([self.ends, self.ends[-1] + later.ends[1:]]),
            np.concatenate([self.terms, known[later.terms]]),
            np.concatenate([self.counts, later.counts]),
        )

    def select(self, rows: NDArray[np.int64]) -> TermCounts:
        """These documents alone, in this order, with the vocabulary they use."""
        places, ends = places_of(self.ends, rows)
        used, terms = np.unique(self.terms[places], return_inverse=True)
        vocabulary = [self.vocabulary[term] for term in used]
        return TermCounts(vocabulary, ends, terms.astype(np.int32), self.counts[places])

    def bm25(self, analyzer: Analyzer, *, k1: float, b: float) -> BM25:
        """The same index as `BM25.build` of the texts."""
        n_docs, per_document = len(self.ends) - 1, np.diff(self.ends)
        rows = np.repeat(np.arange(n_docs, dtype=np.int32), per_document)
        lengths = np.bincount(rows, weights=self.counts, minlength=n_docs)
        frequencies = np.bincount(self.terms, minlength=len(self.vocabulary))
        order = np.argsort(self.terms, kind="stable")  # stable, so documents stay in order within a term
        rows, weigh = rows[order], Weights.of(frequencies, lengths, k1=k1, b=b)
        weights = np.empty(len(order), np.float32)
        for start in range(0, len(order), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            weights[some] = weigh(self.terms[order[some]], rows[some], self.counts[order[some]])
        starts = np.concatenate([[0], np.cumsum(frequencies)]).astype(np.int64)
        vocabulary = {term: place for place, term in enumerate(self.vocabulary)}
        return BM25(Postings(vocabulary, starts, rows, weights, n_docs, k1, b), analyzer)


def places_of(ends: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the entries of these rows, concatenated, and the ends of each row among them.

    ends: (n + 1,), row i has `ends[i]:ends[i + 1]`.
    """
    lengths = ends[rows + 1] - ends[rows]
    after = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.repeat(ends[rows] - after[:-1], lengths) + np.arange(after[-1]), after
