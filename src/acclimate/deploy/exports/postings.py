"""The index of a lexical member as postings: for each term its documents, with a weight for each.

A score is a sum over the query's terms. BM25's weight of a term in a document does not depend on the query, so any
engine that adds products computes exactly the same scores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from acclimate.base.disk import new_array
from acclimate.search.members import BM25Member, Member, SparseMember
from acclimate.search.sparse import next_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ENTRIES_AT_ONCE = 1 << 20


class Entries(NamedTuple):
    """Some entries of an index: the term, the row of the document and the weight (above 0) of each."""

    terms: NDArray[np.int64]
    rows: NDArray[np.int64]
    weights: NDArray[np.float32]


class Postings(NamedTuple):
    """Term t is in the documents `rows[starts[t]:starts[t + 1]]`, with these `weights`."""

    starts: NDArray[np.int64]  # (n_terms + 1,)
    rows: NDArray[np.int32]
    weights: NDArray[np.float32]
    words: list[str]  # (n_terms,) distinct; "" is no term, and marks documents without any

    def blocks(self) -> Iterator[Entries]:
        """All entries, by term and then by row."""
        for start in range(0, len(self.rows), _ENTRIES_AT_ONCE):
            end = min(start + _ENTRIES_AT_ONCE, len(self.rows))
            first, last = np.searchsorted(self.starts, (start, end - 1), side="right") - 1
            ends = np.minimum(self.starts[first + 1 : last + 2], end)
            terms = np.repeat(np.arange(first, last + 1), np.diff(ends, prepend=start))
            rows, weights = self.rows[start:end].astype(np.int64), self.weights[start:end]
            kept = weights > 0
            if "" in self.words:
                kept &= terms != self.words.index("")
            yield Entries(terms[kept], rows[kept], weights[kept])


def rounded(weights: NDArray[np.float32]) -> list[float]:
    """Seven significant digits, which is what a float32 has: no weight becomes 0, which engines refuse."""
    return [float(f"{weight:.7g}") for weight in weights.tolist()]


def kept(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights rounded to the nine bits of precision that Lucene's features keep; it would cut off what is more."""
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32)
    return ((bits + np.uint32(1 << 14)) & ~np.uint32((1 << 15) - 1)).view(np.float32)


def postings_of(member: Member) -> Postings:
    """The postings of a BM25 or a sparse member."""
    if isinstance(member, BM25Member):
        postings = member.index.postings
        return Postings(postings.starts, postings.rows, postings.weights, terms_of(member))
    assert isinstance(member, SparseMember)
    return Postings(member.index.starts, member.index.documents, member.index.weights, terms_of(member))


def terms_of(member: BM25Member | SparseMember) -> list[str]:
    """The terms of a member by their numbers."""
    if isinstance(member, SparseMember):
        return member.query.vocabulary
    vocabulary = member.index.postings.vocabulary
    terms = [""] * len(vocabulary)
    for term, number in vocabulary.items():
        terms[number] = term
    return terms


class Rows(NamedTuple):
    """Postings by document: row i has `terms[starts[i]:starts[i + 1]]`, ascending, with these `weights`."""

    starts: NDArray[np.int64]  # (n_docs + 1,)
    terms: NDArray[np.int32]
    weights: NDArray[np.float32]

    def of(self, rows: slice) -> Rows:
        """The postings of some rows, renumbered from 0."""
        starts = self.starts[rows.start : rows.stop + 1]
        span = slice(starts[0], starts[-1])
        return Rows(starts - starts[0], np.asarray(self.terms[span]), np.asarray(self.weights[span]))


@contextmanager
def by_document(postings: Postings, n_docs: int, folder: Path) -> Iterator[Rows]:
    """The entries by document, sorted on disk in a temporary folder inside `folder`."""
    counts = np.zeros(n_docs, np.int64)
    for entries in postings.blocks():
        counts += np.bincount(entries.rows, minlength=n_docs)
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    with tempfile.TemporaryDirectory(prefix=".rows-", suffix=".part", dir=folder) as name:
        terms = new_array(Path(name) / "terms.npy", np.int32, (int(starts[-1]),))
        weights = new_array(Path(name) / "weights.npy", np.float32, (int(starts[-1]),))
        filled = starts[:-1].copy()
        for entries in postings.blocks():
            order, places = next_places(entries.rows, filled)
            terms[places], weights[places] = entries.terms[order], entries.weights[order]
        yield Rows(starts, terms, weights)
