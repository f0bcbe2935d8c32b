"""Training data shared by all students: texts of queries and documents, and the index's vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.records import Doc, NWay
    from acclimate.search.members import Ids
    from acclimate.search.vectors import Vectors

Sides = tuple[Sequence["NWay"], Sequence["NWay"]]  # (training lists, held-out lists) of one teacher
_NEAR = 0.9  # cosine of base vectors from which two documents are compared word by word


@dataclass(frozen=True)
class TrainingData:
    """Texts of queries and documents, and the index's vectors."""

    queries: Mapping[str, str]  # query_id -> text
    corpus: Mapping[str, Doc]
    ids: Ids
    vectors: Vectors
    # True for near-duplicate documents; None: duplicates are not detected.
    alike: Callable[[str, str], bool] | None = None

    def query_texts(self, batch: Sequence[NWay]) -> list[str]:
        """The text of each example's query."""
        return [self.queries[example.query_id] for example in batch]

    def document_texts(self, doc_ids: Sequence[str]) -> list[str]:
        """The texts of these documents."""
        return [self.corpus[doc_id].default_text() for doc_id in doc_ids]

    def answers(self, batch: Sequence[NWay], doc_ids: list[str]) -> NDArray[np.bool_]:
        """(n_queries, n_docs) True for documents as relevant as an example's first: its passages and duplicates.

        Duplicates are detected by `alike` among documents with near vectors.
        """
        sources = np.array([self.ids.row[example.doc_ids[0]] for example in batch])
        rows = np.array([self.ids.row[doc_id] for doc_id in doc_ids])
        documents = self.ids.documents if self.ids.documents is not None else np.arange(len(self.ids))
        are_answers = documents[sources][:, None] == documents[rows]
        if self.alike is not None:
            vectors = self.vectors.pooled[sources]
            is_all = np.array_equal(rows, np.arange(len(self.ids)))  # avoid a copy
            cosines = self.vectors.dense_scores(vectors) if is_all else vectors @ self.vectors.pooled[rows].T
            for number, place in np.argwhere((cosines > _NEAR) & ~are_answers):
                are_answers[number, place] = self.alike(batch[number].doc_ids[0], doc_ids[int(place)])
        return are_answers


def batch_documents(batch: Sequence[NWay]) -> dict[str, int]:
    """Doc id -> position among the batch's distinct documents, in order of first mention."""
    doc_ids = dict.fromkeys(doc_id for example in batch for doc_id in example.doc_ids)
    return {doc_id: place for place, doc_id in enumerate(doc_ids)}
