"""Neighbors of a document: near it for BM25 and for the encoder, whatever the order of the corpus, and never itself."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from acclimate.base.testing import DOCS
from acclimate.records import Doc
from acclimate.search.bm25 import BM25
from acclimate.search.members import Ids
from acclimate.search.neighbors import Neighbors
from acclimate.search.vectors import Vectors

EMPTY = np.empty(0)
FRUITS = {"a": "apple pear plum", "b": "apple pear", "c": "apple stone", "d": "river stone", "e": "pear plum apple"}
VECTORS = {"a": (1, 0), "b": (0.9, 0.1), "c": (-1, 0), "d": (0.95, 0), "e": (0.5, 0.5)}


def neighbors_of(texts, vectors, parents=None, order=None):
    """Neighbors over such a corpus, in that order of its documents."""
    ids = list(order or texts)
    pooled = np.array([vectors[doc_id] for doc_id in ids], np.float32)
    corpus = {doc_id: Doc(doc_id, texts[doc_id]) for doc_id in ids}
    bm25 = BM25.build(texts[doc_id] for doc_id in ids)
    return Neighbors(Ids(ids, parents or {}), corpus, bm25, Vectors(pooled, EMPTY, EMPTY, EMPTY))


def names(neighbors, doc_id, depth):
    return {neighbors.ids.doc_ids[row] for row in neighbors.of(neighbors.ids.row[doc_id], depth)}


def test_neighbors_are_near_for_both():
    fruits = neighbors_of(FRUITS, VECTORS)
    assert names(fruits, "a", 3) == {"b", "e"}  # c shares a word and lies afar, d is near and shares none
    assert names(fruits, "a", 1) == set()  # e and d
    assert names(fruits, "d", 4) == {"c"}


@pytest.fixture(scope="module")
def random_vectors():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(DOCS), 8))
    return {doc.doc_id: vector / np.linalg.norm(vector) for doc, vector in zip(DOCS, vectors, strict=True)}, {
        doc.doc_id: doc.default_text() for doc in DOCS
    }


def test_a_document_is_not_its_own_neighbor_and_more_depth_takes_none_away(random_vectors):
    vectors, texts = random_vectors
    neighbors = neighbors_of(texts, vectors)
    counts = []
    for row, doc_id in enumerate(texts):
        sets = [names(neighbors, doc_id, depth) for depth in (1, 3, 10, 40, 1000)]
        assert all(smaller <= larger for smaller, larger in pairwise(sets))
        assert not any(doc_id in around for around in sets)
        assert neighbors.of(row, 10) == sorted(set(neighbors.of(row, 10)))
        counts.append(len(sets[-1]))
    assert max(counts) > 3


def test_neighbors_do_not_depend_on_the_order_of_the_corpus(random_vectors):
    vectors, texts = random_vectors
    twins = {**texts, "x1": texts["d00"], "x0": texts["d00"]}  # ties go by id
    vectors = {**vectors, "x1": vectors["d00"], "x0": vectors["d00"]}
    one = neighbors_of(twins, vectors)
    other = neighbors_of(twins, vectors, order=sorted(twins, key=lambda doc_id: doc_id[::-1]))
    for doc_id in twins:
        for depth in (1, 2, 7):
            assert names(one, doc_id, depth) == names(other, doc_id, depth)
    assert names(one, "d00", 1) == {"x0"}


def test_a_passage_is_near_documents_and_never_its_own():
    texts = {"p:1": "apple pear", "p:2": "apple pear plum", "q:1": "stone", "q:2": "apple pear", "r": "apple"}
    parents = {doc_id: doc_id[0] for doc_id in texts if ":" in doc_id}
    neighbors = neighbors_of(texts, dict.fromkeys(texts, (1.0, 0.0)), parents)
    for passage in ("p:1", "p:2"):
        assert names(neighbors, passage, 5) == {"q:1", "r"}  # a document stands at its first passage
        assert names(neighbors, passage, 1) == {"q:1"}
    assert names(neighbors, "r", 1) <= {"p:1"}


def test_depth_counts_documents_however_many_passages_they_have():
    texts = {**{f"p:{number:02}": "apple pear" for number in range(60)}, "q": "apple", "r": "apple stone"}
    parents = {doc_id: "p" for doc_id in texts if ":" in doc_id}
    neighbors = neighbors_of(texts, dict.fromkeys(texts, (1.0, 0.0)), parents)
    assert names(neighbors, "p:07", 2) == {"q", "r"}
    assert names(neighbors, "q", 2) == {"p:00", "r"}


def test_a_document_without_words_has_no_neighbors_and_a_corpus_of_one_has_none():
    texts = {"a": "", "b": "?!", "c": "the apple"}
    neighbors = neighbors_of(texts, dict.fromkeys(texts, (1.0, 0.0)))
    assert [names(neighbors, doc_id, 5) for doc_id in texts] == [set()] * 3
    assert neighbors_of({"c": "apple"}, {"c": (1.0, 0.0)}).of(0, 20) == []


def test_words_that_no_blank_sets_apart_are_words():
    texts = {"a": "東京の天気は雨です" * 500, "b": "東京の天気", "c": "大阪城"}
    neighbors = neighbors_of(texts, dict.fromkeys(texts, (1.0, 0.0)))
    asked = []
    scores = neighbors.bm25.scores
    neighbors.bm25.scores = lambda text: (asked.append(text), scores(text))[1]
    assert names(neighbors, "a", 5) == {"b"}
    assert len(asked[0]) < 2000
