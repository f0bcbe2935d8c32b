"""Documents that lie near another one in the eyes of two retrievers that share nothing.

What both BM25 and the encoder count among the nearest of a document is about the same thing (the cluster hypothesis,
van Rijsbergen 1979, chapter 3); each alone names many that are not, and favors those that it finds for queries, too.
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

_WORDS = 150  # of a document that BM25 searches for
_CHARACTERS = 1_500  # the same where no blanks set words apart


@dataclass(frozen=True)
class Neighbors:
    """The neighbors of the documents of one index."""

    ids: Ids
    corpus: Mapping[str, Doc]
    bm25: BM25
    vectors: Vectors

    def of(self, row: int, depth: int) -> list[int]:
        """The rows, ascending, of the documents that are among the `depth` nearest of this row's in both eyes.

        Where rows are passages, a document stands at the row of its first one, and a passage's own is not near it.
        """
        text = " ".join(self.corpus[self.ids.doc_ids[row]].default_text().split()[:_WORDS])[:_CHARACTERS]
        by_words = self._nearest(self.bm25.scores(text), row, depth, above=0.0)
        by_vectors = self._nearest(self.vectors.dense_scores(self.vectors.pooled[row][None])[0], row, depth)
        return sorted(by_words & by_vectors)

    def _nearest(self, scores: NDArray[np.floating], row: int, depth: int, *, above: float | None = None) -> set[int]:
        """The `depth` best documents but the row's own."""
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
