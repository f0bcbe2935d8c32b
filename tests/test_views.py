"""Queries are looked at in blocks, each once, and what is found for one has the same bytes in any company."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acclimate.base.testing import DOCS, QUERIES
from acclimate.records import Query
from acclimate.search import max_sim, views
from acclimate.search.bm25 import BM25
from acclimate.search.device_vectors import DeviceVectors
from acclimate.search.encoder import Encoder
from acclimate.search.members import BM25Member, DenseMember, Ids, LateInteractionMember
from acclimate.search.system import System
from acclimate.search.vectors import Vectors, encode_corpus, quantized
from acclimate.search.views import Views, blocks

IDS = Ids([doc.doc_id for doc in DOCS])
ASKED = [*QUERIES[:8], Query("empty", ""), Query("odd", "?!"), Query("long", " ".join(doc.text for doc in DOCS[:4]))]
SYSTEMS = [{"bm25": 1.0}, {"dense": 1.0}, {"late-interaction": 1.0}, {}, {"bm25": 0.2, "late-interaction": 0.8}]
MULTIPLIES_BYTES = max_sim._multiplies_bytes()


@pytest.fixture(scope="module")
def encoder(tiny_encoder):
    return Encoder.load(str(tiny_encoder), max_tokens=64)


@pytest.fixture(scope="module")
def members(encoder, tmp_path_factory):
    vectors = encode_corpus(encoder, {doc.doc_id: doc for doc in DOCS}, tmp_path_factory.mktemp("vectors"))
    return {
        "bm25": BM25Member(BM25.build(doc.default_text() for doc in DOCS)),
        "dense": DenseMember(vectors, encoder),
        "late-interaction": LateInteractionMember(vectors, encoder),
    }


def system(members, weights, shared=None):
    return System(IDS, members, [name for name in weights if name in ("bm25", "dense")] or ["bm25", "dense"],
                  weights, 7, shared)  # fmt: skip


def as_bytes(candidates):
    return candidates.rows.tobytes(), {name: scores.tobytes() for name, scores in candidates.scores.items()}


@given(st.lists(st.sampled_from(ASKED), min_size=1, max_size=9), st.permutations(SYSTEMS), st.integers(1, 4))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_query_has_the_same_bytes_in_any_company(members, asked, order, at_once):
    shared = Views()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "_QUERIES", at_once)
        for block in blocks(asked, len(IDS)):
            for weights in order:
                together = system(members, weights, shared).candidates(block)
                for query, candidates in zip(block, together, strict=True):
                    (alone,) = system(members, weights).candidates([query])
                    assert as_bytes(candidates) == as_bytes(alone)


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 50))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("place", ["cpu", "as on a GPU"])
@pytest.mark.parametrize("in_bytes", [MULTIPLIES_BYTES, False])
def test_vectors_are_compared_the_same_in_any_company(in_bytes, place, monkeypatch, seed, dim, n_docs):
    monkeypatch.setattr(max_sim, "_multiplies_bytes", lambda: in_bytes)
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, n_docs)
    vectors = rng.normal(size=(lengths.sum(), dim)).astype(np.float32)
    tokens, scales = (part.numpy() for part in quantized(torch.from_numpy(vectors)))
    pooled, queries = (rng.normal(size=(n, dim)).astype(np.float32) for n in (n_docs, 9))
    plain = vectors = Vectors(pooled, tokens, scales, np.cumsum([0, *lengths]))
    if place != "cpu":
        vectors = Vectors(*vars(plain).values())
        vars(vectors)["_on_device"] = DeviceVectors(pooled, tokens, scales, vectors.offsets, "cpu")
        assert vectors.dense_scores(queries) == pytest.approx(plain.dense_scores(queries), abs=1e-4)
        every = np.arange(n_docs)
        assert vectors.max_sim(queries, every) == pytest.approx(plain.max_sim(queries, every), abs=1e-3)  # of about 10
    together = vectors.dense_scores(queries)
    assert [vectors.dense_scores(query[None])[0].tobytes() for query in queries] == [one.tobytes() for one in together]
    every = vectors.max_sim(queries, np.arange(n_docs))
    some = rng.permutation(n_docs)[: rng.integers(n_docs + 1)]
    assert vectors.max_sim(queries, some).tobytes() == every[some].tobytes()


@pytest.mark.parametrize("way", [max_sim._in_bytes if MULTIPLIES_BYTES else max_sim._in_floats, max_sim._in_floats])
@pytest.mark.parametrize("dim", [2, 384, 1100])
@pytest.mark.parametrize("n_query_tokens", [1, 8, 9])
def test_inner_products_are_exact_where_they_are_largest(n_query_tokens, dim, way):
    """No processor's way of adding up bytes may lose what does not fit."""
    rng = np.random.default_rng(dim)
    tokens = rng.choice(np.array([-127, 127], np.int8), (2100, dim))
    tokens[:3] = [[127]] * 3
    query = rng.choice(np.array([-1, 1, 0.003], np.float32), (n_query_tokens, dim))
    query[0] = 1
    expected = tokens.astype(np.float64) @ query.T.astype(np.float64)
    assert way(query)(tokens, [0, 5, 2000]) == pytest.approx(expected, abs=127 * dim * 2**-15)


def test_each_query_is_looked_at_once_by_each_member_however_many_systems_ask(members, encoder, monkeypatch):
    encoded, compared = [], Counter()
    encode, begin, scores = Encoder.encode, Vectors.begin_max_sim, BM25.scores
    monkeypatch.setattr(Encoder, "encode", lambda self, texts: (encoded.extend(texts), encode(self, texts))[1])
    monkeypatch.setattr(
        Vectors, "begin_max_sim", lambda self, query, rows: (compared.update([(query.tobytes(), row) for row in rows]),
                                                             begin(self, query, rows))[1]
    )  # fmt: skip
    read = []
    monkeypatch.setattr(BM25, "scores", lambda self, text: (read.append(text), scores(self, text))[1])
    shared = Views()
    for weights in SYSTEMS:
        system(members, weights, shared).search(ASKED, 5)
        system(members, weights, shared).search(ASKED[3:5], 5)  # as where one asks for more of some
    assert encoded == read == [query.text for query in ASKED]
    assert set(compared.values()) == {1}
    system(members, SYSTEMS[0]).search(ASKED, 5)  # which shares nothing
    assert len(read) == 2 * len(ASKED)


def test_a_block_has_room_for_a_score_of_every_document():
    queries = [Query(f"q{number}", "text") for number in range(150)]
    assert [len(block) for block in blocks(queries, 40)] == [64, 64, 22]
    for n_docs in (1, 10**6, 10**9):
        parts = list(blocks(queries, n_docs))
        assert [query for part in parts for query in part] == queries
        assert len(parts[0]) == 1 or len(parts[0]) * n_docs <= views._SCORES
    assert list(blocks([], 40)) == []
