"""Statistics of each vocabulary token in the index: frequencies, and sums of its vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.learn.students.training_data import TrainingData
    from acclimate.search.encoder import Encoder

_DOCUMENTS_AT_ONCE = 512


class Occurrences(NamedTuple):
    """Token statistics of a corpus; special tokens have none."""

    counts: NDArray[np.int64]  # (n_vocabulary,) occurrences
    documents: NDArray[np.int64]  # (n_vocabulary,) document frequencies
    sums: NDArray[np.float64]  # (n_vocabulary, dim) sums of vectors
    products: NDArray[np.float64]  # (dim, dim) sum of outer products of all vectors
    n_docs: int

    def idf(self) -> NDArray[np.float32]:
        """(n_vocabulary,) inverse document frequency, above 0 (as in BM25)."""
        return np.log1p((self.n_docs - self.documents + 0.5) / (self.documents + 0.5)).astype(np.float32)


def count_occurrences(
    encoder: Encoder, data: TrainingData, prepare: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> Occurrences:
    """Read the index's token vectors once, in blocks transformed by `prepare`."""
    vectors, doc_ids = data.vectors, data.ids.doc_ids
    size, dim = vocabulary_size(encoder), vectors.tokens.shape[1]
    total = Occurrences(
        np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros((size, dim)), np.zeros((dim, dim)), len(doc_ids)
    )
    for first in range(0, len(doc_ids), _DOCUMENTS_AT_ONCE):
        rows = range(first, min(first + _DOCUMENTS_AT_ONCE, len(doc_ids)))
        tokenized = encoder.tokenize(data.document_texts([doc_ids[row] for row in rows]), "document")
        ids = [[token for token, is_kept in zip(text.ids, text.keep, strict=True) if is_kept] for text in tokenized]
        tokens = np.array([token for document in ids for token in document])
        block = prepare(vectors.gather(rows)[0])
        order = np.argsort(tokens, kind="stable")
        present, begins = np.unique(tokens[order], return_index=True)
        total.sums[present] += np.add.reduceat(block[order], begins, axis=0, dtype=np.float64)
        total.products[:] += block.T @ block
        total.counts[:] += np.bincount(tokens, minlength=size)
        total.documents[:] += np.bincount([token for document in ids for token in set(document)], minlength=size)
    special = sorted(set(encoder.model.tokenizer.all_special_ids))  # kept in texts that have no others
    for part in (total.counts, total.documents, total.sums):
        part[special] = 0
    return total


def vocabulary_size(encoder: Encoder) -> int:
    """Rows of the encoder's input embeddings, padding included."""
    transformer: Any = encoder.model[0]
    return transformer.model.get_input_embeddings().weight.shape[0]
