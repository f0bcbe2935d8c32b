"""Who is compared with a query where comparing it with every document takes too long: an approximate index of vectors.

Inverted lists (Jégou, Douze and Schmid, PAMI 2011, section 4, without their codes): documents are clustered by k-means,
and of the clusters nearest to a query each document is compared with it in eight bits. The best of them, some times as
many as are wanted, are compared by their own vectors: scores are exact, and all that can be missed is a document whose
cluster is not looked at. How many are missed is measured on a run's own queries: documents find each other far more
easily than queries find them, so they say nothing about that.

Clustering and comparing are done in whole numbers, which no machine rounds: the same vectors come to the same bytes.
Vectors are read block by block, and a search maps what it reads. NumPy does all of it; with numkong, where it is
installed, a search takes half the time.

Decided against libraries (docs/log.md has figures): a graph (HNSW of usearch) is made in thirty times the time, and a
query takes twice as long to find as much. faiss has such lists; its wheels bring an OpenMP of their own, which beside
torch's ends the process on a Mac (faiss-wheels issue 73).
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acclimate.base.disk import new_array, release
from acclimate.base.files import atomic_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEPTH = 100  # of a query's nearest documents, of which recall is the share that is named
ENOUGH = 0.95  # of it, for a run to say nothing more
_FOLDER = "approximate"  # beside the vectors
_LOOKED_AT = 96  # lists, of as many as the root of the number of documents: so time grows with that
_TIMES = 4  # as many documents as are wanted are compared by their own vectors
_SHARE = 1 / 16  # of all documents: where more would be named, comparing all takes no longer
_SAMPLE, _ITERATIONS = 64, 10  # of clustering: vectors for each list, and rounds
_MOST = 127  # in eight bits
_ROWS_AT_ONCE = 4096


class Lists(NamedTuple):
    """List l has the documents `rows[starts[l]:starts[l + 1]]`, ascending, with these codes, see `_coded`."""

    centroids: NDArray[np.int8]  # (n_lists, dim)
    starts: NDArray[np.int64]  # (n_lists + 1,)
    rows: NDArray[np.int32]  # (n_docs,)
    codes: NDArray[np.int8]  # (n_docs, dim)
    scales: NDArray[np.float32]  # (n_docs,)


@dataclass(frozen=True)
class ApproximateIndex:
    """The lists over the vectors of one folder."""

    path: Path

    @classmethod
    def of(cls, folder: Path) -> ApproximateIndex | None:
        """That of the vectors in a folder; None where they have none."""
        path = folder / _FOLDER
        return cls(path) if path.exists() else None

    @classmethod
    def build(
        cls, folder: Path, pooled: NDArray[np.float32], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> ApproximateIndex:
        """Make it of the (n_docs, dim) vectors in a folder; an interrupted one begins again."""
        n_docs, n_lists = len(pooled), math.isqrt(len(pooled))
        sample = np.linspace(0, n_docs - 1, min(n_docs, _SAMPLE * n_lists)).astype(np.int64)
        centroids = _clustered(np.concatenate([codes for _, codes, _ in _read(pooled, sample)]), n_lists)
        numbers = np.empty(n_docs, np.int32)
        for rows, codes, _ in _read(pooled, np.arange(n_docs)):
            numbers[rows] = _nearest(codes, centroids)
            progress(int(rows[-1]) + 1, n_docs)
        with atomic_folder(folder / _FOLDER) as beside:
            _write(beside, pooled, centroids, numbers)
        return cls(folder / _FOLDER)

    @cached_property
    def _lists(self) -> Lists:
        arrays = (np.load(self.path / f"{name}.npy", mmap_mode="r") for name in Lists._fields)
        return Lists(*map(np.asarray, arrays))  # of the plain kind, which is cut faster

    @cached_property
    def _lengths(self) -> NDArray[np.float32]:
        return _lengths_of(self._lists.centroids)

    @property
    def nbytes(self) -> int:
        """On disk."""
        return sum(path.stat().st_size for path in self.path.iterdir())

    def pool(self, query: NDArray[np.float32], depth: int) -> NDArray[np.int64] | None:
        """The rows, ascending, among which the `depth` nearest are, or most of them; None where all are to be looked
        at: for so many, and for a query without a direction."""
        centroids, starts, rows, codes, scales = self._lists
        n_wanted = _TIMES * depth
        if n_wanted > _SHARE * len(rows) or not query.any():
            return None
        code = _coded(query[None])[0]
        nearest = np.argsort(-_dots(code, centroids) / self._lengths, kind="stable")
        n_lists = max(_LOOKED_AT, 1 + int(np.searchsorted(np.cumsum(np.diff(starts)[nearest]), n_wanted)))
        spans = [slice(*starts[number : number + 2]) for number in nearest[:n_lists]]
        scores = np.concatenate([_dots(code, codes[span]) * scales[span] for span in spans])
        named = np.concatenate([rows[span] for span in spans])
        if n_wanted < len(scores):
            named = named[scores >= np.partition(scores, -n_wanted)[-n_wanted]]  # every tie of the last one
        return np.sort(named).astype(np.int64)


def _write(folder: Path, pooled: NDArray[np.float32], centroids: NDArray[np.int8], numbers: NDArray[np.int32]) -> None:
    """Write `Lists` of these vectors. numbers: (n_docs,) of the list that each is in."""
    by_list = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[by_list], np.arange(len(centroids) + 1))
    for name, array in (("centroids", centroids), ("starts", starts), ("rows", by_list.astype(np.int32))):
        np.save(folder / f"{name}.npy", array)
    in_order = new_array(folder / "codes.npy", np.int8, pooled.shape)
    scales_in_order = np.empty(len(pooled), np.float32)
    places = np.empty(len(pooled), np.int64)
    places[by_list] = np.arange(len(pooled))
    for rows, codes, scales in _read(pooled, np.arange(len(pooled))):
        in_order[places[rows]], scales_in_order[places[rows]] = codes, scales
        release(in_order)
    in_order.flush()
    np.save(folder / "scales.npy", scales_in_order)


def _read(
    pooled: NDArray[np.float32], rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.float32]]]:
    """Some of these rows at a time, with what `_coded` makes of them; what was read is given up."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows[start : start + _ROWS_AT_ONCE]
        yield block, *_coded(pooled[block])
        release(pooled)


def _coded(vectors: NDArray[np.floating]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(n, dim) whole numbers from -127 to 127, and (n,) what makes the vectors of them again."""
    scales = np.abs(vectors).max(axis=1) / np.float32(_MOST)
    codes = np.rint(vectors / np.maximum(scales, np.float32(1e-12))[:, None]).astype(np.int8)
    return codes, scales.astype(np.float32)


def _clustered(codes: NDArray[np.int8], n_lists: int) -> NDArray[np.int8]:
    """(n_lists, dim) codes of centroids, by k-means over directions; one that no vector is nearest to stays."""
    centroids = codes[np.linspace(0, len(codes) - 1, n_lists).astype(np.int64)]
    for _ in range(_ITERATIONS):
        nearest = np.concatenate(
            [_nearest(codes[start : start + _ROWS_AT_ONCE], centroids) for start in range(0, len(codes), _ROWS_AT_ONCE)]
        )
        order = np.argsort(nearest, kind="stable")
        numbers, firsts = np.unique(nearest[order], return_index=True)
        centroids[numbers] = _coded(np.add.reduceat(codes[order], firsts, axis=0, dtype=np.int64))[0]
    return centroids


def _nearest(codes: NDArray[np.int8], centroids: NDArray[np.int8]) -> NDArray[np.int64]:
    """(n,) the centroid whose direction each is most like."""
    return (codes.astype(np.float32) @ centroids.astype(np.float32).T / _lengths_of(centroids)).argmax(axis=1)


def _lengths_of(centroids: NDArray[np.int8]) -> NDArray[np.float32]:
    """(n_lists,), where one has none, 1."""
    return np.maximum(np.sqrt((centroids.astype(np.float32) ** 2).sum(axis=1)), 1)


def _dots(code: NDArray[np.int8], codes: NDArray[np.int8]) -> NDArray[Any]:
    """(n,) inner products with the one row of `code`, which are whole numbers."""
    if not len(codes):
        return np.empty(0, np.float32)
    try:
        from numkong import cdist
    except ImportError:
        return codes.astype(np.float32) @ code[0].astype(np.float32)
    return np.asarray(cdist(code, codes, "dot"))[0].astype(np.float32)


def recall_sentence(member: str, recall: float, n_docs: int) -> str:
    """What a search by an approximate index finds, and what to do where that is too little."""
    said = f"{member} finds {recall:.1%} of the {DEPTH} documents nearest to a query: its index is approximate."
    if recall >= ENOUGH:
        return said
    return f"{said} To compare a query with all of them, which takes longer: --set index.exact_up_to={n_docs}."


def index(folder: Path, *, is_wanted: bool, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """See to it that the vectors in a folder have one, or that they have none."""
    if not is_wanted:
        shutil.rmtree(folder / _FOLDER, ignore_errors=True)
    elif ApproximateIndex.of(folder) is None:
        ApproximateIndex.build(folder, np.load(folder / "pooled.npy", mmap_mode="r"), progress)
