"""Approximate nearest-neighbor search, where comparing a query with every document takes too long.

Inverted lists (Jégou, Douze and Schmid, PAMI 2011, section 4) made and read by faiss: documents are clustered by
k-means, and those in the clusters nearest to a query are compared with it in eight bits. The best of these, a few times
as many as are wanted, are compared by their full vectors: scores are exact, and only documents in other clusters can be
missed. Recall is measured on a run's own queries, since documents find each other far more easily than queries do.

The index is built by one thread in the order of rows, so the same vectors give the same bytes. It reads vectors in
blocks, using one byte of memory per component; a search memory-maps the file. docs/log.md compares this with a graph
index (usearch) and with lists of our own.
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

DEPTH = 100  # recall is measured on this many nearest documents
ENOUGH = 0.95  # recall below which a run warns
_FILE = "approximate.faiss"  # beside the vectors
_LOOKED_AT = 96  # lists probed, of 2 * sqrt(n_docs): search time grows with that root
_TIMES = 4  # candidates compared by full vectors, per document wanted
_SHARE = 1 / 16  # of all documents: beyond it, comparing all is as fast
_SAMPLE, _ITERATIONS = 64, 10  # k-means: vectors per list, and rounds
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class ApproximateIndex:
    """Inverted lists over the vectors of one folder."""

    path: Path

    @classmethod
    def of(cls, folder: Path) -> ApproximateIndex | None:
        """The index of the vectors in a folder; None if there is none."""
        path = folder / _FILE
        return cls(path) if path.exists() else None

    @classmethod
    def build(
        cls, folder: Path, pooled: NDArray[np.float32], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> ApproximateIndex:
        """Build the index of (n_docs, dim) vectors in a folder; an interrupted build starts over."""
        faiss, (n_docs, dim), path = _faiss(), pooled.shape, folder / _FILE
        n_lists = min(2 * math.isqrt(n_docs), n_docs)
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dim), dim, n_lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.spherical, index.cp.niter = True, _ITERATIONS
        # Faiss uses its own fixed seed, 1234.
        index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, _SAMPLE
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
        """Size on disk."""
        return self.path.stat().st_size

    def pool(self, query: NDArray[np.float32], depth: int) -> NDArray[np.int64] | None:
        """Rows, ascending, that contain most or all of the `depth` nearest documents; None: search all.

        None is returned for a large `depth`, for a zero query, and if the probed lists hold too few documents.
        """
        n_wanted = _TIMES * depth
        if n_wanted > _SHARE * self._index.ntotal or not query.any():
            return None
        nearby = _faiss().SearchParametersIVF(nprobe=_LOOKED_AT)
        rows = self._index.search(query[None], n_wanted, params=nearby)[1][0]
        rows = rows[rows >= 0]  # -1 stands for none
        return np.sort(rows).astype(np.int64) if len(rows) >= depth else None


def recall_sentence(member: str, recall: float, n_docs: int) -> str:
    """A sentence on the recall of an approximate index, with advice if it is low."""
    said = f"{member} finds {recall:.1%} of the {DEPTH} documents nearest to a query: its index is approximate."
    if recall >= ENOUGH:
        return said
    return f"{said} To compare a query with all of them, which takes longer: --set index.exact_up_to={n_docs}."


def index(folder: Path, *, is_wanted: bool, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Build the index of the vectors in a folder, or remove it if it is not wanted."""
    if not is_wanted:
        (folder / _FILE).unlink(missing_ok=True)
    elif ApproximateIndex.of(folder) is None:
        ApproximateIndex.build(folder, np.load(folder / "pooled.npy", mmap_mode="r"), progress)


def check(n_docs: int, exact_up_to: int) -> None:
    """Raises MissingExtra if there are so many documents that they are searched approximately, and faiss is missing.

    exact_up_to: as in the settings of `index`.
    """
    if n_docs > exact_up_to:
        _faiss(f"Searching {n_docs:,} vectors, which is more than index.exact_up_to ({exact_up_to:,}),", n_docs)


def _faiss(what: str = "Searching many vectors", n_docs: int | None = None) -> Any:
    """faiss, restricted to one thread."""
    # On macOS, faiss and torch each bring an OpenMP, and a process that loads both is killed unless this is set.
    if sys.platform == "darwin":
        os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "TRUE")
    try:
        import faiss
    except ImportError:
        exact = f"; or compare queries with all of them: --set index.exact_up_to={n_docs}" if n_docs else ""
        raise MissingExtra(what, f"pip install 'acclimate[ann]'{exact}") from None
    faiss.omp_set_num_threads(1)
    return faiss
