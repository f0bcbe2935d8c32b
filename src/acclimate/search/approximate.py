"""Who is compared with a query where comparing it with every document takes too long: an approximate index of vectors.

A graph of near neighbors (HNSW, Malkov and Yashunin, arXiv 1603.09320) that usearch makes and walks, over vectors in
eight bits. It names several times as many documents as are wanted, and those are compared by their own vectors: scores
are exact, and all that can be missed is a document that the walk does not come to. How many are missed is measured on a
run's own queries: documents find each other far more easily than queries find them, so they say nothing about that.
One thread makes it, in the order of the rows: the same vectors come to the same bytes. It takes the vectors block by
block, and about half a kilobyte of memory for each; a search maps it.

faiss' inverted lists are made in a fifth of the time. Of a hundred thousand vectors they named fewer of the nearest at
the same speed, of a million more; its wheels bring an OpenMP of their own into processes that compute with torch's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.base.errors import MissingExtra
from acclimate.base.files import atomic_write

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEPTH = 100  # of a query's nearest documents, of which recall is the share that is named
ENOUGH = 0.95  # of it, for a run to say nothing more
_GRAPH = "approximate.usearch"  # beside the vectors
_NEIGHBORS, _EXPANSION = 16, 128  # of a document in the graph; looked at to choose them
_TIMES = 16  # as many documents as are wanted are compared
_SHARE = 1 / 16  # of all documents: where more would be named, comparing all takes no longer
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class ApproximateIndex:
    """The graph over the vectors of one folder."""

    path: Path

    @classmethod
    def of(cls, folder: Path) -> ApproximateIndex | None:
        """That of the vectors in a folder; None where they have none."""
        path = folder / _GRAPH
        return cls(path) if path.exists() else None

    @classmethod
    def build(
        cls, folder: Path, pooled: NDArray[np.float32], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> ApproximateIndex:
        """Make it, row by row, of the (n_docs, dim) vectors in a folder; an interrupted one begins again."""
        path = folder / _GRAPH
        index = _usearch().Index(
            ndim=pooled.shape[1], metric="cos", dtype="i8", connectivity=_NEIGHBORS, expansion_add=_EXPANSION
        )
        for start in range(0, len(pooled), _ROWS_AT_ONCE):
            block = np.asarray(pooled[start : start + _ROWS_AT_ONCE])
            index.add(np.arange(start, start + len(block), dtype=np.uint64), block, threads=1)
            progress(start + len(block), len(pooled))
        with atomic_write(path) as beside:
            index.save(str(beside))
        return cls(path)

    @cached_property
    def _index(self) -> Any:
        return _usearch().Index.restore(str(self.path), view=True)  # memory-mapped

    @property
    def nbytes(self) -> int:
        """On disk."""
        return self.path.stat().st_size

    def pool(self, query: NDArray[np.float32], depth: int) -> NDArray[np.int64] | None:
        """The rows, ascending, among which the `depth` nearest are, or most of them; None where all are to be looked
        at: for so many, and for a query without a direction."""
        n_wanted = _TIMES * depth
        if n_wanted > _SHARE * len(self._index) or not query.any():
            return None
        return np.sort(self._index.search(query, n_wanted, threads=1).keys.astype(np.int64))


def recall_sentence(member: str, recall: float, n_docs: int) -> str:
    """What a search by an approximate index finds, and what to do where that is too little."""
    said = f"{member} finds {recall:.1%} of the {DEPTH} documents nearest to a query: its index is approximate."
    if recall >= ENOUGH:
        return said
    return f"{said} To compare a query with all of them, which takes longer: --set index.exact_up_to={n_docs}."


def index(folder: Path, *, is_wanted: bool, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """See to it that the vectors in a folder have one, or that they have none."""
    if not is_wanted:
        (folder / _GRAPH).unlink(missing_ok=True)
    elif ApproximateIndex.of(folder) is None:
        ApproximateIndex.build(folder, np.load(folder / "pooled.npy", mmap_mode="r"), progress)


def check(n_docs: int, exact_up_to: int) -> None:
    """Raises MissingExtra where documents are so many that they are searched approximately, and usearch is not there.

    exact_up_to: as in the settings of `index`.
    """
    if n_docs > exact_up_to:
        _usearch(f"Searching {n_docs:,} vectors, which is more than index.exact_up_to ({exact_up_to:,}),", n_docs)


def _usearch(what: str = "Searching many vectors", n_docs: int | None = None) -> Any:
    try:
        import usearch.index as library
    except ImportError:
        exact = f"; or compare queries with all of them: --set index.exact_up_to={n_docs}" if n_docs else ""
        raise MissingExtra(what, f"pip install 'acclimate[ann]'{exact}") from None
    return library
