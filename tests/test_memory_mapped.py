"""Vectors that lie on disk take no more memory than a block of them, however often all are read."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from acclimate.base.disk import new_array, release
from acclimate.records import Doc
from acclimate.search import vectors
from acclimate.search.encoded import Tokens
from acclimate.search.vectors import Vectors, create_arrays, encode_corpus

N_DOCS, DIM = 40_000, 256  # 41 MB

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def mapped_megabytes() -> float:
    """Pages of files that this process has in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile")) / 1024


@on_linux
def test_pages_that_are_released_are_read_again(tmp_path):
    array = new_array(tmp_path / "a.npy", np.float32, (N_DOCS, DIM))
    array[:] = 1
    before = mapped_megabytes()
    release(array)
    assert mapped_megabytes() < before - 35
    assert array.sum(dtype=np.float64) == N_DOCS * DIM
    assert np.load(tmp_path / "a.npy")[-1, -1] == 1
    release(np.ones(3))  # in memory: nothing to give up


@on_linux
def test_a_search_of_all_gives_up_what_it_has_read(tmp_path, monkeypatch):
    create_arrays(tmp_path, DIM, [0] * N_DOCS)
    rows = np.random.default_rng(0).normal(size=(N_DOCS, DIM)).astype(np.float32)
    np.load(tmp_path / "pooled.npy", mmap_mode="r+")[:] = rows
    queries, opened = rows[:2], Vectors.open(tmp_path)
    whole = opened.dense_scores(queries)
    grown = mapped_megabytes()
    monkeypatch.setattr(vectors, "_LARGE", 8 << 20)
    monkeypatch.setattr(vectors, "_RESIDENT", 4 << 20)
    assert np.array_equal(opened.dense_scores(queries), whole)
    assert mapped_megabytes() < grown - 30


class Encoder:
    """All documents are ones."""

    fingerprint, dim, token_dim = "ones", DIM, DIM

    def tokenize(self, texts, task):
        return [Tokens([1], [True], [True]) for _ in texts]

    def read_batch(self, batch, task, finish):
        rows = finish(torch.ones(len(batch), DIM))
        parts = [part.numpy() for part in rows]
        return [(np.ones(DIM, np.float32), *(part[i : i + 1] for part in parts)) for i in range(len(batch))]


@on_linux
def test_what_is_encoded_is_given_up_as_it_is_written(tmp_path):
    corpus = {str(number): Doc(str(number), "word") for number in range(20_000)}
    before = mapped_megabytes()
    encoded = encode_corpus(Encoder(), corpus, tmp_path)
    assert mapped_megabytes() < before + 10
    assert encoded.pooled.nbytes > 20e6
    assert encoded.pooled.sum(dtype=np.float64) == 20_000 * DIM
