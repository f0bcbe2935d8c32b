"""Who is compared with a query where comparing it with every document takes too long: an approximate index of vectors.

Inverted lists (Jégou, Douze and Schmid, PAMI 2011, section 4) that faiss makes and reads: documents are clustered by
k-means, and of the clusters nearest to a query each document is compared with it in eight bits. The best of them, some
times as many as are wanted, are compared by their own vectors: scores are exact, and all that can be missed is a
document whose cluster is not looked at. How many are missed is measured on a run's own queries: documents find each
other far more easily than queries find them, so they say nothing about that.

One thread makes it, in the order of the rows: the same vectors come to the same bytes. It takes the vectors block by
block, and one byte of memory for each number; a search maps the file. docs/log.md has what a graph (usearch) and lists
of our own took instead.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.base.disk import release
from acclimate.base.errors import DataError, MissingExtra
from acclimate.base.files import atomic_write

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEPTH = 100  # of a query's nearest documents, of which recall is the share that is named
ENOUGH = 0.95  # of it, for a run to say nothing more
_FILE = "approximate.faiss"  # beside the vectors
_LOOKED_AT = 96  # lists, of as many as twice the root of the number of documents: so time grows with that root
_TIMES = 4  # as many documents as are wanted are compared by their own vectors
_SHARE = 1 / 16  # of all documents: where more would be named, comparing all takes no longer
_SAMPLE, _ITERATIONS = 64, 10  # of clustering: vectors for each list, and rounds
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class ApproximateIndex:
    """The lists over the vectors of one folder."""

    path: Path

    @classmethod
    def of(cls, folder: Path) -> ApproximateIndex | None:
        """That of the vectors in a folder; None where they have none."""
        path = folder / _FILE
        return cls(path) if path.exists() else None

    @classmethod
    def build(
        cls, folder: Path, pooled: NDArray[np.float32], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> ApproximateIndex:
        """Make it of the (n_docs, dim) vectors in a folder; an interrupted one begins again."""
        faiss, (n_docs, dim), path = _faiss(), pooled.shape, folder / _FILE
        n_lists = min(2 * math.isqrt(n_docs), n_docs)
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dim), dim, n_lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.spherical, index.cp.niter = True, _ITERATIONS
        index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, _SAMPLE  # the seed is faiss' own, 1234
        sample = np.linspace(0, n_docs - 1, min(n_docs, _SAMPLE * n_lists)).astype(np.int64)
        index.train(np.ascontiguousarray(pooled[sample]))
        for start in range(0, n_docs, _ROWS_AT_ONCE):
            index.add(np.ascontiguousarray(pooled[start : start + _ROWS_AT_ONCE]))
            release(pooled)
            progress(min(n_docs, start + _ROWS_AT_ONCE), n_docs)
        with atomic_write(path) as beside:
            faiss.write_index(index, str(beside))
        return cls(path)

    @cached_property
    def _index(self) -> Any:
        faiss = _faiss()
        try:
            return faiss.read_index(str(self.path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError:
            raise DataError("no index of faiss; remove the file and repeat the command", path=self.path) from None

    @property
    def nbytes(self) -> int:
        """On disk."""
        return self.path.stat().st_size

    def pool(self, query: NDArray[np.float32], depth: int) -> NDArray[np.int64] | None:
        """The rows, ascending, among which the `depth` nearest are, or most of them; None where all are to be looked
        at: for so many, for a query without a direction, and where the lists that are looked at have too few."""
        n_wanted = _TIMES * depth
        if n_wanted > _SHARE * self._index.ntotal or not query.any():
            return None
        nearby = _faiss().SearchParametersIVF(nprobe=_LOOKED_AT)
        rows = self._index.search(query[None], n_wanted, params=nearby)[1][0]
        rows = rows[rows >= 0]  # -1 stands for none
        return np.sort(rows).astype(np.int64) if len(rows) >= depth else None


def recall_sentence(member: str, recall: float, n_docs: int) -> str:
    """What a search by an approximate index finds, and what to do where that is too little."""
    said = f"{member} finds {recall:.1%} of the {DEPTH} documents nearest to a query: its index is approximate."
    if recall >= ENOUGH:
        return said
    return f"{said} To compare a query with all of them, which takes longer: --set index.exact_up_to={n_docs}."


def index(folder: Path, *, is_wanted: bool, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """See to it that the vectors in a folder have one, or that they have none."""
    if not is_wanted:
        (folder / _FILE).unlink(missing_ok=True)
    elif ApproximateIndex.of(folder) is None:
        ApproximateIndex.build(folder, np.load(folder / "pooled.npy", mmap_mode="r"), progress)


def check(n_docs: int, exact_up_to: int) -> None:
    """Raises MissingExtra where documents are so many that they are searched approximately, and faiss is not there.

    exact_up_to: as in the settings of `index`.
    """
    if n_docs > exact_up_to:
        _faiss(f"Searching {n_docs:,} vectors, which is more than index.exact_up_to ({exact_up_to:,}),", n_docs)


def _faiss(what: str = "Searching many vectors", n_docs: int | None = None) -> Any:
    """faiss, on one thread."""
    if sys.platform == "darwin":  # its wheels bring an OpenMP as torch's do, which there ends a process unless allowed
        os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "TRUE")
    try:
        import faiss
    except ImportError:
        exact = f"; or compare queries with all of them: --set index.exact_up_to={n_docs}" if n_docs else ""
        raise MissingExtra(what, f"pip install 'acclimate[ann]'{exact}") from None
    faiss.omp_set_num_threads(1)
    return faiss
