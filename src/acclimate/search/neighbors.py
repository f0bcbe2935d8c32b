"""Find documents that are near another by both BM25 and the encoder.

Documents that both count among the nearest are about the same topic (the cluster hypothesis, van Rijsbergen 1979,
chapter 3); either alone finds many that are not, and favors those that it also finds for queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from acclimate.records import Doc
from acclimate.search.members import Ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.search.bm25 import BM25
    from acclimate.search.vectors import Vectors

_WORDS = 150  # of a document, used as BM25 query
_CHARACTERS = 1_500  # the same for scripts without word boundaries


@dataclass(frozen=True)
class Neighbors:
    """Neighbors of the documents in one index."""

    ids: Ids
    corpus: Mapping[str, Doc]
    bm25: BM25
    vectors: Vectors

    def of(self, row: int, depth: int) -> list[int]:
        """Rows, ascending, of the documents among the `depth` nearest of this row by both.

        For passages, a document is represented by its first row, and a passage's own document is excluded.
        """
        text = " ".join(self.corpus[self.ids.doc_ids[row]].default_text().split()[:_WORDS])[:_CHARACTERS]
        by_words = self._nearest(self.bm25.scores(text), row, depth, above=0.0)
        by_vectors = self._nearest(self.vectors.dense_scores(self.vectors.pooled[row][None])[0], row, depth)
        return sorted(by_words & by_vectors)

    def _nearest(self, scores: NDArray[np.floating], row: int, depth: int, *, above: float | None = None) -> set[int]:
        """The `depth` best documents except the row's own."""
        documents = self.ids.documents
        itself = row if documents is None else int(documents[row])
        looked_at = depth + 1
        while True:
            rows = self.ids.best(scores, looked_at, above=above)
            nearest = dict.fromkeys((rows if documents is None else documents[rows]).tolist())
            nearest.pop(itself, None)
            if len(nearest) >= depth or len(rows) < looked_at or looked_at >= len(scores):
                return set([*nearest][:depth])
            looked_at *= 2
