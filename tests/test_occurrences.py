"""Statistics of a corpus's tokens, from which sparse and static students start."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from acclimate.base.testing import DOCS
from acclimate.learn.students.occurrences import count_occurrences
from acclimate.search.members import Ids


def test_tokens_are_counted_where_they_stand_and_documents_once(base, data, monkeypatch):
    monkeypatch.setattr("acclimate.learn.students.occurrences._DOCUMENTS_AT_ONCE", 7)
    found = count_occurrences(base, data, lambda vectors: vectors)
    texts = base.tokenize([doc.default_text() for doc in DOCS], "document")
    kept = [np.array(text.ids)[list(text.keep)] for text in texts]
    stands = np.concatenate(kept)[:, None] == np.arange(len(found.counts))  # of each token of the corpus
    documents = sum(np.isin(np.arange(len(found.counts)), tokens).astype(int) for tokens in kept)
    vectors = data.vectors.gather(range(len(DOCS)))[0]
    assert found.counts.tolist() == stands.sum(axis=0).tolist() != documents.tolist() == found.documents.tolist()
    assert np.allclose(found.sums, stands.T.astype(float) @ vectors, atol=1e-4)
    assert np.allclose(found.products, vectors.T @ vectors, atol=1e-3)
    assert np.allclose(found.idf(), np.log(1 + (40 - documents + 0.5) / (documents + 0.5)), atol=1e-5)


def test_special_tokens_occur_nowhere_though_a_text_without_words_keeps_them(base):
    texts = ["", "rivers carve valleys"]
    blank, words = ([*itertools.compress(text.ids, text.keep)] for text in base.tokenize(texts, "document"))
    gathered = np.ones((len(blank) + len(words), base.token_dim), np.float32)
    vectors = SimpleNamespace(tokens=gathered, gather=lambda rows: (gathered,))
    data: Any = SimpleNamespace(vectors=vectors, ids=Ids(["blank", "words"]), document_texts=lambda doc_ids: texts)
    total = count_occurrences(base, data, lambda vectors: vectors)
    assert blank
    for part in (total.counts, total.documents, total.sums):
        assert sorted({*np.nonzero(part)[0].tolist()}) == sorted({*words})
