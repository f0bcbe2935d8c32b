"""Of a large corpus, students that keep the index share a softmax with documents drawn, and with those of the batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from distilling import DEV, TRAIN, loss_of, training_of

from acclimate.learn.students import index_vectors
from acclimate.learn.students.index_vectors import IndexVectors
from acclimate.learn.students.kinds import STUDENTS
from acclimate.learn.students.training_data import batch_documents
from acclimate.search.members import Ids


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(index_vectors, "AT_MOST", 20)


def test_of_a_small_corpus_every_document_is_compared(data):
    compared = IndexVectors(data).of(TRAIN[:4])
    assert compared == (data.ids.row, None)
    assert np.array_equal(IndexVectors(data).vectors(None), data.vectors.pooled)


def test_of_a_large_one_those_that_are_drawn_and_those_of_the_batch(few, data):
    index, batch = IndexVectors(data), TRAIN[:4]
    places, others = index.of(batch)
    vectors = index.vectors(others)
    assert [*places.values()] == [*range(len(vectors))]
    assert len(index._drawn) == 20
    assert {*places} == {*index._drawn, *batch_documents(batch)}
    for doc_id, place in places.items():
        assert np.array_equal(vectors[place], data.vectors.pooled[data.ids.row[doc_id]])


def test_who_is_drawn_follows_from_the_ids_and_not_from_their_order(few, data):
    turned = replace(data, ids=Ids(list(data.ids.doc_ids)[::-1]))
    assert IndexVectors(turned)._drawn.keys() == IndexVectors(data)._drawn.keys()


def test_a_student_learns_from_them(few, base, data, tmp_path):
    training = training_of("dense-query", base, data, tmp_path / "x.state", epochs=4)
    before = loss_of(training, TRAIN)
    training.run(lambda step: None)
    assert loss_of(training, TRAIN) < before


@pytest.mark.parametrize("name", ["dense-query", "static"])
def test_what_it_says_of_a_document_is_the_same(name, base, data, monkeypatch):
    def scores():
        student = STUDENTS[name].make(base.copy(), data)
        (similarities,) = student.similarities(student.read(DEV[:3]))
        return similarities.scores[0].gather(-1, similarities.places)

    whole = scores()
    monkeypatch.setattr(index_vectors, "AT_MOST", 20)
    assert torch.allclose(scores(), whole, atol=1e-6)
