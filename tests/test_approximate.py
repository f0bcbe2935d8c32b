"""The approximate index of vectors: what it names, how it is made and when it is asked."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from chain import write_corpus
from files_page import undocumented

import acclimate
from acclimate.base.errors import MissingExtra
from acclimate.records import Doc, Query
from acclimate.search import approximate, measuring, vectors
from acclimate.search.encoded import Encoded
from acclimate.search.members import DenseMember, Ids
from acclimate.search.system import System
from acclimate.search.vectors import Vectors, create_arrays

pytest.importorskip("faiss")
N_DOCS, DIM = 4000, 24


class Encoder:
    """Queries are numbers: each one's vector is near that document's."""

    fingerprint = "numbers"

    def __init__(self, pooled):
        self.pooled = pooled

    def encode(self, texts):
        return [Encoded(self._near(int(text)), np.empty((0, DIM), np.float32)) for text in texts]

    def _near(self, row):
        moved = self.pooled[row] + 0.1 * np.random.default_rng(row).standard_normal(DIM).astype(np.float32)
        return (moved / np.linalg.norm(moved)).astype(np.float32)


def written(folder, pooled):
    """Vectors as an encoding leaves them."""
    folder.mkdir()
    create_arrays(folder, pooled.shape[1], [0] * len(pooled))
    array = np.load(folder / "pooled.npy", mmap_mode="r+")
    array[:] = pooled
    array.flush()
    return folder


@pytest.fixture(scope="module")
def pooled():
    """Clusters, and twenty copies of one document."""
    rng = np.random.default_rng(7)
    centers = rng.standard_normal((60, DIM))
    vectors = centers[rng.integers(0, 60, N_DOCS)] + 0.7 * rng.standard_normal((N_DOCS, DIM))
    vectors[100:120] = vectors[100]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pooled):
    folder = written(tmp_path_factory.mktemp("approximate") / "vectors", pooled)
    approximate.index(folder, is_wanted=True)
    return folder


def retriever(folder, pooled, depth=10):
    member = DenseMember(Vectors.open(folder), Encoder(pooled))
    ids = Ids([f"d{row * 7919 % N_DOCS}" for row in range(N_DOCS)])
    return System(ids, {"dense": member}, ["dense"], {"dense": 1.0}, depth)


QUERIES = [Query(f"q{row}", str(row)) for row in range(0, N_DOCS, 80)]


@pytest.fixture(scope="module")
def exact(tmp_path_factory, pooled):
    return retriever(written(tmp_path_factory.mktemp("exact") / "vectors", pooled), pooled)


def test_what_is_named_is_scored_exactly_and_nearly_all_of_the_nearest_are_named(folder, exact, pooled):
    of_all = {(hit.query_id, hit.doc_id): hit.score for hit in exact.search(QUERIES, 50)}
    hits = retriever(folder, pooled).search(QUERIES, 10)
    nearest = {(hit.query_id, hit.doc_id) for hit in exact.search(QUERIES, 10)}
    assert len({(hit.query_id, hit.doc_id) for hit in hits} & nearest) > 0.97 * len(nearest)
    for hit in hits:
        assert hit.score == pytest.approx(of_all[hit.query_id, hit.doc_id], abs=1e-6)


def test_ties_are_in_the_order_of_ids(folder, exact, pooled):
    copies = Query("copies", "100")
    hits = retriever(folder, pooled, depth=30).search([copies], 20)
    assert len({hit.score for hit in hits}) == 1
    assert [hit.doc_id for hit in hits] == sorted(hit.doc_id for hit in hits)
    assert [hit.doc_id for hit in hits] == [hit.doc_id for hit in exact.search([copies], 20)]


def test_a_query_finds_the_same_in_any_company_and_a_score_does_not_depend_on_what_else_is_compared(folder, pooled):
    system = retriever(folder, pooled)
    together = system.search(QUERIES, 10)
    for query in QUERIES[::10]:
        assert [hit for hit in together if hit.query_id == query.query_id] == system.search([query], 10)
    opened, query = Vectors.open(folder), pooled[3]
    every = opened.cosines(query, np.arange(N_DOCS))
    rows = np.random.default_rng(1).permutation(N_DOCS)[:777]
    assert opened.cosines(query, rows).tobytes() == every[rows].tobytes()


def test_who_asks_for_a_large_part_of_the_documents_is_answered_from_all_of_them(folder, exact, pooled):
    system = retriever(folder, pooled, depth=500)
    hits, expected = system.search(QUERIES[:2], 500), exact.search(QUERIES[:2], 500)
    assert {hit[:2] for hit in hits} == {hit[:2] for hit in expected}
    assert system.members["dense"].vectors.approximate.pool(np.zeros(DIM, np.float32), 1) is None  # near to nothing


def test_too_few_documents_in_the_lists_looked_at_are_no_answer(folder, pooled, monkeypatch):
    monkeypatch.setattr(approximate, "_LOOKED_AT", 1)
    monkeypatch.setattr(approximate, "_SHARE", 1)
    found = {depth: Vectors.open(folder).approximate.pool(pooled[0], depth) for depth in (1, 1000)}
    assert [rows is None for rows in found.values()] == [False, True]
    assert all(rows is None or len(rows) >= depth for depth, rows in found.items())


def test_the_same_vectors_come_to_the_same_bytes_and_others_in_their_place_have_none(folder, pooled, tmp_path):
    again = written(tmp_path / "again", pooled)
    approximate.index(again, is_wanted=True)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
    assert Vectors.open(again).approximate is not None
    create_arrays(again, DIM, [0] * 5)
    assert Vectors.open(again).approximate is None


def test_without_the_library_both_ways_out_are_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    approximate.check(500, 500)
    with pytest.raises(MissingExtra, match=r"acclimate\[ann\].*index\.exact_up_to=501"):
        approximate.check(501, 500)


def test_recall_is_of_the_nearest_and_too_little_of_it_says_what_to_set(pooled):
    scores = pooled @ pooled[3]
    nearest = np.argsort(-scores)
    for n_named, share in ((0, 0.0), (70, 0.7), (100, 1.0), (300, 1.0)):
        assert measuring.recall(nearest[:n_named], scores) == share
    assert measuring.recall(None, scores) == 1.0
    assert measuring.recall(np.arange(20), -np.arange(40.0)) == 0.5  # of fewer documents than a hundred
    assert "finds 97.0% of the 100 documents" in approximate.recall_sentence("dense", 0.97, 600)
    assert "exact_up_to" not in approximate.recall_sentence("dense", 0.97, 600)
    assert "--set index.exact_up_to=600" in approximate.recall_sentence("dense", 0.94, 600)


def test_a_run_above_the_size_finds_what_one_below_it_does_and_is_searched_and_updated(
    copied, corpus, run_adapt, fake_llm, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(approximate, "_SHARE", 100)  # of forty documents all are named, by the index
    below = json.loads((copied / "report.json").read_text())
    assert "approximate_recall" not in below["queries"]
    caplog.set_level("INFO", "acclimate")
    with monkeypatch.context() as patched:
        patched.setattr(vectors, "_with_tokens", pytest.fail)  # no document is encoded again
        assert run_adapt(corpus, copied, changes=("index.exact_up_to=10",)) == 0
    assert "index      is made again: dense search changed" in caplog.text
    assert "dense finds 100.0% of the 100 documents nearest to a query" in caplog.text
    above = json.loads((copied / "report.json").read_text())
    assert above["queries"]["approximate_recall"] == {"dense": 1.0, "dense:adapted": 1.0}
    for before, after in zip(below["systems"], above["systems"], strict=True):
        assert after["name"] == before["name"]
        assert after["measures"] == pytest.approx(before["measures"], abs=1e-6)
    caplog.clear()
    assert run_adapt(corpus, copied, changes=("index.exact_up_to=39",)) == 0
    assert "is made again" not in caplog.text
    assert undocumented(copied) == set()

    run = acclimate.open(copied)
    run.update(write_corpus(tmp_path / "new.jsonl", [Doc("zircon", "Zircon outlives glaciers.")]))
    assert [*copied.glob("updated/*/vectors/approximate.faiss")]
    assert "zircon" in {hit.document_id for hit in run.search("zircon glaciers", k=41, system="dense")}
