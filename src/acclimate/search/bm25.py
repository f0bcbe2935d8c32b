"""BM25 in the file format of bm25s; built in blocks of documents, and memory-mapped for search.

k1 = 0.9 and b = 0.4 are Anserini's, the usual baseline. Building holds the vocabulary, 12 bytes per document and one
block of terms in memory; each block is sorted by term and written to disk, then blocks are merged a range of terms at a
time. Scores are bit-identical to those of bm25s.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acclimate.base.digests import fingerprint
from acclimate.base.disk import new_array, release
from acclimate.base.files import make_folder, read_json, write_json
from acclimate.corpus.analyzer import Analyzer, bm25s

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

NO_TERM = ""  # term of documents without terms, as bm25s needs one in each
_BLOCK = 1 << 20  # terms per block, and entries merged at once (more for a single frequent term)
_ENTRY = np.dtype([("term", "<i4"), ("row", "<i4"), ("count", "<i4")])


class BM25:
    """An index over a corpus; `scores` scores every document for one query."""

    def __init__(self, postings: Postings, analyzer: Analyzer, without_terms: int = 0) -> None:
        """without_terms: number of documents without terms; not saved."""
        self.postings = postings
        self.analyzer = analyzer
        self.without_terms = without_terms

    @classmethod
    def build(
        cls,
        texts: Iterable[str],
        *,
        language: str = "en",
        k1: float = 0.9,
        b: float = 0.4,
        scratch: Path | None = None,
        block: int = _BLOCK,
    ) -> BM25:
        """Index texts in order, text i as row i. Raises SettingError for an unknown language.

        scratch: a folder for temporary files that vanish with the process; None: memory. block: terms counted, and
        entries merged, at once.
        """
        analyzer = Analyzer(language)
        vocabulary: dict[str, int] = {}
        lengths = array("i")
        blocks = [_on_disk(entries, scratch) for entries in _blocks(map(analyzer, texts), vocabulary, lengths, block)]
        n_tokens = np.frombuffer(lengths, np.int32).astype(np.int64)
        empty = np.flatnonzero(n_tokens == 0)
        if len(empty):
            blocks.append(_entries(np.full(len(empty), len(vocabulary)), empty, np.ones(len(empty))))
            n_tokens[empty] = 1
        n_terms = len(vocabulary) + bool(len(empty))
        vocabulary[NO_TERM] = len(vocabulary)
        frequencies = np.zeros(n_terms, np.int64)
        for entries in blocks:
            frequencies += np.bincount(entries["term"], minlength=n_terms)
        starts = np.concatenate([[0], np.cumsum(frequencies)]).astype(np.int64)
        weights = Weights.of(frequencies, n_tokens, k1=k1, b=b)
        data, rows = (_array(int(starts[-1]), kind, scratch) for kind in (np.float32, np.int32))
        for (first, last), entries in _merged(blocks, list(_spans(starts, block))):
            places = slice(starts[first], starts[last])
            data[places], rows[places] = weights(entries["term"], entries["row"], entries["count"]), entries["row"]
            for on_disk in (*blocks, data, rows):
                release(on_disk)
        return cls(Postings(vocabulary, starts, rows, data, len(n_tokens), k1, b), analyzer, len(empty))

    @classmethod
    def open(cls, folder: Path) -> BM25:
        """Memory-map the index written by `save`."""
        names = "indptr", "indices", "data"
        starts, rows, weights = (np.load(folder / f"{name}.csc.index.npy", mmap_mode="r") for name in names)
        vocabulary, facts = read_json(folder / "vocab.index.json"), read_json(folder / "params.index.json")
        postings = Postings(vocabulary, starts, rows, weights, facts["num_docs"], facts["k1"], facts["b"])
        return cls(postings, Analyzer(read_json(folder / "language.json")))

    def save(self, folder: Path) -> None:
        """Write the index to a folder."""
        make_folder(folder)
        index: Any = bm25s().BM25(k1=self.postings.k1, b=self.postings.b)
        index.scores = {
            "data": self.postings.weights,
            "indices": self.postings.rows,
            "indptr": self.postings.starts,
            "num_docs": self.postings.n_docs,
        }
        index.vocab_dict, index.nonoccurrence_array = self.postings.vocabulary, None
        index.save(str(folder), show_progress=False)
        release(self.postings.weights)
        release(self.postings.rows)
        write_json(folder / "language.json", self.analyzer.language)

    @property
    def fingerprint(self) -> str:
        return fingerprint("bm25", self.analyzer.language, self.postings.k1, self.postings.b)

    def scores(self, text: str) -> NDArray[np.float32]:
        """(n_docs,) BM25 scores of one query; all 0 if none of its terms is in the index."""
        postings, scores = self.postings, np.zeros(self.postings.n_docs, dtype=np.float32)
        for term in self.analyzer(text):
            rows, weights = postings.of(term)
            scores[rows] += weights
        return scores


class Postings(NamedTuple):
    """Term t is in documents `rows[starts[t]:starts[t + 1]]`, ascending, with these `weights`."""

    vocabulary: dict[str, int]  # term -> number; always includes `NO_TERM`
    starts: NDArray[np.int64]  # (n_terms + 1,)
    rows: NDArray[np.int32]
    weights: NDArray[np.float32]
    n_docs: int
    k1: float
    b: float

    def of(self, term: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """(n,) rows of the documents that have this term, ascending, and (n,) its weights in them."""
        number = self.vocabulary.get(term)
        places = slice(0) if number is None else slice(*self.starts[number : number + 2])
        return self.rows[places], self.weights[places]


@dataclass(frozen=True)
class Weights:
    """BM25 weights of terms in documents: Lucene's variant (Kamphuis et al. 2020), in the arithmetic of bm25s."""

    idf: NDArray[np.float32]  # (n_terms,)
    norms: NDArray[np.floating]  # (n_docs,)

    @classmethod
    def of(cls, frequencies: NDArray[np.int64], lengths: NDArray[np.number], *, k1: float, b: float) -> Weights:
        """frequencies: (n_terms,) document frequencies. lengths: (n_docs,) terms per document."""
        norms = k1 * ((1 - b) + b * lengths / lengths.mean())
        wide = (np.ones(1, np.float32) + np.float64(1)).dtype  # as numpy adds
        return cls(_idf(frequencies, len(lengths)), norms.astype(wide))

    def __call__(
        self, terms: NDArray[np.int32], rows: NDArray[np.int32], counts: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """(n,) weights of terms in documents with these counts."""
        tf = counts.astype(np.float32)
        return (self.idf[terms] * (tf / (self.norms[rows] + tf))).astype(np.float32)


def _blocks(
    analyzed: Iterable[list[str]], vocabulary: dict[str, int], lengths: array[int], block: int
) -> Iterator[NDArray[np.void]]:
    """Blocks of (term, document, count) entries, sorted by term, then by document.

    Terms are numbered in order of appearance in `vocabulary`; document lengths are appended to `lengths`.
    """
    terms, first = array("i"), 0
    for of_text in analyzed:
        terms.extend([vocabulary.setdefault(term, len(vocabulary)) for term in of_text])
        lengths.append(len(of_text))
        if len(terms) >= block:
            yield _counted(terms, lengths, first)
            terms, first = array("i"), len(lengths)
    yield _counted(terms, lengths, first)


def _counted(terms: array[int], lengths: array[int], first: int) -> NDArray[np.void]:
    """Entries of one block. first: the row of its first document."""
    rows = np.repeat(np.arange(first, len(lengths)), np.array(lengths[first:], np.int64))
    pairs, counts = np.unique(np.frombuffer(terms, np.int32).astype(np.int64) << 32 | rows, return_counts=True)
    return _entries(pairs >> 32, pairs & 0xFFFFFFFF, counts)


def _entries(terms: NDArray[Any], rows: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.void]:
    entries = np.empty(len(terms), _ENTRY)
    entries["term"], entries["row"], entries["count"] = terms, rows, counts
    return entries


def _spans(starts: NDArray[np.int64], block: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of terms with at most `block` entries each, or a single term."""
    first, n_terms = 0, len(starts) - 1
    while first < n_terms:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + block, side="right")) - 1)
        yield first, last
        first = last


def _merged(
    blocks: list[NDArray[np.void]], spans: list[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], NDArray[np.void]]]:
    """The entries of each range of terms, sorted by term and document; later blocks hold later documents."""
    edges = [0, *(last for _, last in spans)]
    cuts = [np.searchsorted(entries["term"], edges) for entries in blocks]
    for number, span in enumerate(spans):
        parts = [entries[slice(*cut[number : number + 2])] for entries, cut in zip(blocks, cuts, strict=True)]
        entries = np.concatenate(parts)
        yield span, entries[np.argsort(entries["term"], kind="stable")]


def _on_disk(entries: NDArray[np.void], scratch: Path | None) -> NDArray[np.void]:
    if scratch is None:
        return entries
    there = _array(len(entries), _ENTRY, scratch)
    there[:] = entries
    return there


def _array(size: int, kind: DTypeLike, scratch: Path | None) -> NDArray[Any]:
    """An uninitialized array: in memory, or in an unnamed file that vanishes with the process."""
    if scratch is None or not size:
        return np.empty(size, kind)
    make_folder(scratch)
    path = scratch / ".bm25.part"
    try:
        return new_array(path, kind, (size,))
    finally:
        path.unlink(missing_ok=True)


def _idf(frequencies: NDArray[np.int64], n_docs: int) -> NDArray[np.float32]:
    different, places = np.unique(frequencies, return_inverse=True)
    values = [math.log(1 + (n_docs - df + 0.5) / (df + 0.5)) for df in different.tolist()]
    return np.array(values, np.float32)[places]
