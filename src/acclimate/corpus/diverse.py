"""Draw a diverse sample: documents of every cluster, after DUQGen (arXiv 2404.02489, section 3.1).

Documents are clustered by k-means on their vectors. Each cluster gives documents in proportion to its size, at least
one while there are enough. Within a cluster they come in an order drawn by the softmax of their closeness to the
centroid; of the next few in that order, the one is taken that is close to the centroid and unlike those taken before
(maximal marginal relevance, Carbonell and Goldstein 1998). A document of weight 2 counts as two.

Places are given one at a time to the cluster that is farthest below its share (Sainte-Lague), not computed beforehand,
so that a skipped document is replaced by another of its own cluster.
"""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CLUSTERS = 1000  # if not set
_TEMPERATURE = 1.0  # of the softmax over cosines, as in the code that DUQGen's authors released
_NEXT = 10  # candidates compared for each document drawn
_RELEVANCE = 0.5  # weight of closeness in maximal marginal relevance; the rest is dissimilarity
_FIT_ON = 50_000  # maximum documents for k-means
_BLOCK_ROWS = 16_384
_ITERATIONS = 50


@threadpool_limits.wrap(limits=1)  # several threads would sum in another order
def draw_diverse(
    rows: NDArray[np.int64],
    chances: NDArray[np.float64],
    weights: NDArray[np.float64],
    vectors: NDArray[np.float32],
    accepts: Callable[[int], bool],
    *,
    n_docs: int,
    n_clusters: int,
    seed: int,
) -> list[int]:
    """At most `n_docs` positions in `rows`, in the order drawn.

    rows: the row in `vectors` of each candidate; vectors: (n, dim), unit length, read in blocks. chances: a number in
    [0, 1) for each candidate, drawn by its id; weights: above 0, relative. `accepts` may reject a position. n_clusters:
    0 means one per document to draw, up to a thousand. The order of candidates only decides which of them k-means is
    fitted on.
    """
    n_clusters = n_clusters or min(n_docs, MAX_CLUSTERS)
    luck = np.clip(chances, 1e-12, 1 - 1e-12)
    centroids = _centroids(vectors[rows[:_FIT_ON]], n_clusters, seed)
    cluster, closeness = _nearest(vectors, rows, centroids)
    # Sorting by this, largest first, draws without replacement by the softmax of closeness (Gumbel's trick).
    order = np.argsort(-(closeness / _TEMPERATURE - np.log(-np.log(luck)) + np.log(weights)), kind="stable")
    order = order[np.argsort(cluster[order], kind="stable")]
    starts = np.searchsorted(cluster[order], np.arange(len(centroids) + 1))
    clusters = [_Cluster(order[start:end], closeness, rows, vectors) for start, end in pairwise(starts)]

    drawn: list[int] = []
    sizes = np.bincount(cluster, weights, minlength=len(clusters)).tolist()
    # Clusters farthest below their share first; at the start, empty ones by size.
    queue = [(0.0, -sizes[number], number) for number, group in enumerate(clusters) if len(group.waiting)]
    heapq.heapify(queue)
    while queue and len(drawn) < n_docs:
        _, size, number = heapq.heappop(queue)
        taken = next(filter(accepts, clusters[number]), None)
        if taken is not None:
            drawn.append(taken)
            clusters[number].keep(taken)
            heapq.heappush(queue, ((len(clusters[number].kept) + 0.5) / -size, size, number))
    return drawn


class _Cluster(Iterator[int]):
    """Candidates of a cluster in order; the next one depends on those kept."""

    def __init__(
        self,
        waiting: NDArray[np.int64],
        closeness: NDArray[np.float32],
        rows: NDArray[np.int64],
        vectors: NDArray[np.float32],
    ) -> None:
        """waiting: positions in `closeness` and `rows`, in the order drawn."""
        self.waiting = waiting
        self.kept: list[NDArray[np.float32]] = []
        self._next = list(waiting[:_NEXT])
        self._seen = len(self._next)
        self._closeness, self._rows, self._vectors = closeness, rows, vectors

    def __next__(self) -> int:
        if not self._next:
            raise StopIteration
        worth = _RELEVANCE * self._closeness[self._next]
        if self.kept:
            likeness = self._vectors[self._rows[self._next]] @ np.stack(self.kept).T
            worth = worth - (1 - _RELEVANCE) * likeness.max(axis=1)
        best = self._next.pop(int(worth.argmax()))
        self._next += list(self.waiting[self._seen : self._seen + 1])
        self._seen += 1
        return int(best)

    def keep(self, position: int) -> None:
        """Record a drawn document, from which later ones should differ."""
        self.kept.append(np.array(self._vectors[self._rows[position]]))


def _centroids(vectors: NDArray[np.float32], n_clusters: int, seed: int) -> NDArray[np.float32]:
    """(n, dim) unit length; `n_clusters` of them, or as many as there are vectors."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    n_clusters = min(n_clusters, len(vectors))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different vectors than clusters
        fitted = KMeans(n_clusters, max_iter=_ITERATIONS, random_state=seed).fit(vectors)
    centers = fitted.cluster_centers_.astype(np.float32)
    return centers / np.maximum(np.linalg.norm(centers, axis=1, keepdims=True), 1e-12)


def _nearest(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], centroids: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The cluster of each row and its cosine with the centroid, block by block."""
    cluster = np.empty(len(rows), dtype=np.int64)
    closeness = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK_ROWS):
        cosines = vectors[rows[start : start + _BLOCK_ROWS]] @ centroids.T
        cluster[start : start + _BLOCK_ROWS] = cosines.argmax(axis=1)
        closeness[start : start + _BLOCK_ROWS] = cosines.max(axis=1)
    return cluster, closeness
