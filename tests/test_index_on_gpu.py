"""The vectors of an index on a GPU, tried on the device of `fake_device`: in search and in training."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from fake_device import NAME, waits

from acclimate.base.testing import DOCS, QUERIES
from acclimate.learn.students.index_vectors import IndexVectors
from acclimate.learn.students.token_vectors import TokenVectors
from acclimate.learn.students.training_data import TrainingData
from acclimate.search import device_vectors
from acclimate.search.encoder import Encoder
from acclimate.search.four_bits import FourBits
from acclimate.search.members import Ids
from acclimate.search.sparse import Head
from acclimate.search.vectors import TOKENS, encode_corpus

pytestmark = pytest.mark.filterwarnings("ignore")

CORPUS = {doc.doc_id: doc for doc in DOCS}


@pytest.fixture(autouse=True)
def a_few_at_once(monkeypatch):
    """Main memory for few token vectors: nothing may unpack all of four bits."""
    unpack = FourBits.__getitem__

    def few(tokens, rows):
        unpacked = unpack(tokens, rows)
        assert len(unpacked) <= 100
        return unpacked

    monkeypatch.setattr(device_vectors, "_TOKENS_UNPACKED", 100)
    monkeypatch.setattr(FourBits, "__getitem__", few)


def test_the_fake_device_refuses_what_a_gpu_refuses(elsewhere):
    here = torch.arange(3)
    there = here.to(NAME)
    there[here] = there[here]
    assert (there + torch.tensor(1)).cpu().tolist() == [1, 2, 3]
    for mixed in (
        lambda: here[there],
        lambda: there.__setitem__(here, here + 1),
        lambda: here.__setitem__(here, there),
        lambda: here + there,
        lambda: there.numpy(),
    ):
        with pytest.raises((RuntimeError, TypeError)):
            mixed()


@pytest.mark.parametrize("tokens_as", TOKENS)
def test_documents_are_compared_with_queries_on_the_device(tokens_as, as_cuda, tiny_encoder, tmp_path, monkeypatch):
    base = Encoder.load(str(tiny_encoder), max_tokens=64)
    vectors = encode_corpus(base, CORPUS, tmp_path, tokens_as=tokens_as)
    room = []
    monkeypatch.setattr("acclimate.search.vectors.has_room", lambda n_bytes: room.append(n_bytes) or True)
    there = [part for part in vars(vectors._on_device).values() if isinstance(part, torch.Tensor)]
    assert {part.device.type for part in there} == {NAME}
    assert room == [sum(getattr(vectors._on_device, name).nbytes for name in ("_pooled", "_tokens", "_scales"))]
    queries = base.encode([query.text for query in QUERIES[:3]])
    pooled = np.stack([query.pooled for query in queries])
    assert vectors.dense_scores(pooled) == pytest.approx(pooled @ vectors.pooled.T, abs=1e-5)
    rows = np.array([7, 3, 39])
    for query in queries:
        best = [(query.tokens @ vectors.gather([row])[0].T).max(axis=1).mean() for row in rows]
        assert vectors.max_sim(query.tokens, rows) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("tokens_as", TOKENS)
def test_token_vectors_of_documents_stay_on_a_gpu_that_has_room_for_them(
    tokens_as, as_cuda, tiny_encoder, tmp_path, monkeypatch
):
    base = Encoder.load(str(tiny_encoder), max_tokens=64)
    vectors = encode_corpus(base, CORPUS, tmp_path, tokens_as=tokens_as)
    data = TrainingData({}, CORPUS, Ids(list(CORPUS)), vectors)
    as_cuda.clear()
    resident = TokenVectors(vectors)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, 1 << 33))
    without_room = TokenVectors(vectors)
    assert IndexVectors(data).vectors(None).device.type == NAME
    assert resident.resident
    assert without_room.resident is None
    assert not as_cuda  # pinned memory stays with a process, as much again as what is copied once
    rows = [3, 17, 0]
    for tokens in (resident, without_room):
        found = tokens.vectors_of(tokens.read(rows)).cpu().numpy()
        assert found == pytest.approx(vectors.gather(rows)[0])
    assert as_cuda


def test_documents_of_a_sparse_index_are_waited_for_once_a_block(elsewhere):
    generator = np.random.default_rng(0)
    head = Head(*(np.float32(generator.normal(size=size)) for size in (9000, (9000, 8), 9000)))
    vectors, starts = np.float32(generator.normal(size=(60, 8))), np.arange(0, 60, 3)
    waits.clear()
    documents = list(head.heaviest(vectors, starts, 5))
    assert len(documents) == 20
    assert len(waits) == 1
