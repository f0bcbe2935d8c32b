"""Retrieval: every score is the plain formula's, ties go by id, and nothing depends on the order of the corpus."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npt

from acclimate.base import memory
from acclimate.base.digests import folder_fingerprint
from acclimate.base.testing import DOCS, QRELS, QUERIES
from acclimate.deploy.updating.indexes import joined
from acclimate.records import Query
from acclimate.search.bm25 import BM25
from acclimate.search.four_bits import FourBits
from acclimate.search.members import Ids
from acclimate.search.vectors import Vectors, encode_corpus, quantized

CORPUS = {doc.doc_id: doc for doc in DOCS}
TEXTS = [doc.default_text() for doc in DOCS]
ODD = [Query("empty", ""), Query("strange", "zzzz qqqq"), Query("odd", "?!")]


@pytest.fixture(scope="module")
def bm25():
    return BM25.build(TEXTS)


@pytest.fixture(scope="module")
def vectors(data):
    return data.vectors


IDS = Ids(list(CORPUS))


# BM25


def test_bm25_finds_the_obvious_answers(bm25):
    best = [IDS.doc_ids[int(bm25.scores(query.text).argmax())] for query in QUERIES]
    assert sum(doc_id == qrel.doc_id for doc_id, qrel in zip(best, QRELS, strict=True)) >= 36


def test_bm25_opened_again_gives_the_same_scores(bm25, tmp_path):
    bm25.save(tmp_path / "index")
    opened = BM25.open(tmp_path / "index")
    assert opened.fingerprint == bm25.fingerprint
    for query in [*QUERIES, *ODD]:
        assert np.array_equal(opened.scores(query.text), bm25.scores(query.text))
    BM25.build(TEXTS).save(tmp_path / "again")
    assert folder_fingerprint(tmp_path / "again") == folder_fingerprint(tmp_path / "index")


def test_bm25_is_lucenes_formula():
    texts = ["tide moon moon", "tide sun", "rock stone crust lava"]
    scores = BM25.build(texts, language="none", k1=0.9, b=0.4).scores("moon tide")
    mean = sum(len(text.split()) for text in texts) / 3

    def part(word, text):
        words = text.split()
        df = sum(word in other.split() for other in texts)
        tf = words.count(word)
        return np.log(1 + (3 - df + 0.5) / (df + 0.5)) * tf / (tf + 0.9 * (1 - 0.4 + 0.4 * len(words) / mean))

    assert scores == pytest.approx([part("moon", text) + part("tide", text) for text in texts], rel=1e-5)


@pytest.mark.parametrize("query", ODD, ids=lambda query: query.query_id)
def test_a_query_without_a_known_word_scores_nothing(bm25, query):
    scores = bm25.scores(query.text)
    assert scores.shape == (40,)
    assert not scores.any()


# Ids


@given(
    st.lists(
        st.tuples(st.text("ab01", min_size=1, max_size=3), st.integers(0, 3)),
        unique_by=lambda pair: pair[0],
        min_size=1,
    ),
    st.integers(1, 12),
    st.sampled_from([None, 0.0, 1.0]),
    st.randoms(),
)
def test_the_best_are_the_same_whatever_the_order_of_the_corpus(pairs, depth, above, rng):
    expected = [
        doc_id
        for doc_id, score in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
        if above is None or score > above
    ]
    shuffled = rng.sample(pairs, len(pairs))
    ids = Ids([doc_id for doc_id, _ in shuffled])
    best = ids.best(np.array([score for _, score in shuffled], dtype=np.float32), depth, above=above)
    assert [ids.doc_ids[row] for row in best] == expected[:depth]
    assert [ids.row[ids.doc_ids[row]] for row in best] == best.tolist()


# Vectors


def in_eight_bits(vectors):
    return tuple(part.numpy() for part in quantized(torch.from_numpy(vectors.astype(np.float32))))


def test_max_sim_is_the_plain_double_loop():
    rng = np.random.default_rng(0)
    lengths = [3, 1, 5, 2]
    codes, scales = in_eight_bits(rng.normal(size=(sum(lengths), 4)))
    tokens = codes * scales[:, None]
    offsets = np.cumsum([0, *lengths])
    vectors = Vectors(rng.normal(size=(4, 4)).astype(np.float32), codes, scales, offsets)
    query = rng.normal(size=(3, 4)).astype(np.float32)
    for rows in ([0, 1, 2, 3], [2], [3, 0, 3]):
        plain = []
        for row in rows:
            own = tokens[offsets[row] : offsets[row + 1]]
            plain.append(sum(max(float(token @ other) for other in own) for token in query) / len(query))
        assert vectors.max_sim(query, np.array(rows)) == pytest.approx(plain, abs=1e-4)
    assert vectors.max_sim(query, np.array([], dtype=np.int64)).shape == (0,)


def test_eight_bits_keep_a_vector():
    vectors = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    vectors[7] = 0.0
    codes, scales = in_eight_bits(vectors)
    assert (codes.dtype, scales.dtype) == (np.int8, np.float32)
    back = codes * scales[:, None]
    assert (np.abs(back - vectors) <= scales[:, None] / 2 + 1e-6).all()
    assert not back[7].any()


def test_without_token_vectors_the_pooled_ones_are_the_same(vectors, base, tmp_path):
    alone = encode_corpus(base, CORPUS, tmp_path, tokens_as=None)
    assert alone.pooled.tobytes() == vectors.pooled.tobytes()
    assert alone.tokens.size == alone.scales.size == alone.offsets.max() == 0


def test_token_vectors_in_four_bits_take_half_the_room_and_lie_near_those_in_eight(vectors, base, tmp_path):
    halves = encode_corpus(base, CORPUS, tmp_path / "four", tokens_as="int4")
    assert (vectors.token_format, halves.token_format) == ("int8", "int4")
    assert 2 * halves.tokens.nbytes == vectors.tokens.nbytes
    (in_eight, _), (in_four, _) = (kept.gather(range(40)) for kept in (vectors, halves))
    step = np.abs(in_four).max(axis=1, keepdims=True) / 7  # the largest component is kept as 7
    assert (np.abs(in_eight - in_four) <= 0.55 * step).all()  # half a step, and half of one of eight bits
    query, rows = base.encode(["lava and ash"])[0].tokens, np.arange(40)
    assert halves.max_sim(query, rows) == pytest.approx(vectors.max_sim(query, rows), abs=0.05)
    fewer = joined([halves], np.array([5, 3, 39]), tmp_path / "joined")
    for place, row in enumerate((5, 3, 39)):
        assert (fewer.gather([place])[0] == halves.gather([row])[0]).all()


@given(npt.arrays(np.int8, (3, 8), elements=st.integers(-7, 7)))
def test_four_bits_hold_every_number(numbers):
    kept = FourBits(np.empty((3, 4), np.uint8))
    kept[np.array([2, 0])], kept[1:2] = numbers[[2, 0]], numbers[1:2]
    assert kept.shape == numbers.shape
    assert (kept[:] == numbers).all()


def test_dense_scores_are_cosines_however_many_blocks(vectors, base, monkeypatch):
    queries = np.stack([one.pooled for one in base.encode([query.text for query in QUERIES])])
    whole = vectors.dense_scores(queries)
    assert whole == pytest.approx(queries @ np.asarray(vectors.pooled).T, abs=1e-5)
    monkeypatch.setattr("acclimate.search.vectors._NUMBERS_IN_CACHE", 7 * queries.shape[1])
    assert vectors.dense_scores(queries) == pytest.approx(whole, abs=1e-5)


def test_vectors_are_those_of_each_document_alone(vectors, base):
    assert len(vectors.pooled) == len(vectors.offsets) - 1 == 40
    assert vectors.offsets[-1] == len(vectors.tokens)
    for row in (0, 17, 39):
        alone = base.encode([TEXTS[row]])[0]
        # Half precision, where the machine computes in it: three digits
        assert vectors.pooled[row] == pytest.approx(alone.pooled, abs=0.03)
        own, starts = vectors.gather([row])
        assert starts.tolist() == [0]
        assert own.shape == alone.tokens.shape
        assert own == pytest.approx(alone.tokens, abs=0.05)
        assert np.linalg.norm(own, axis=1) == pytest.approx(np.ones(len(own)), abs=0.01)


def test_texts_without_a_known_token_have_a_vector(base):
    for encoded in base.encode(["", "zzzz", "?!"]):
        assert np.linalg.norm(encoded.pooled) == pytest.approx(1, abs=1e-3)
        assert len(encoded.tokens) >= 1
    assert base.encode([]) == []


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(memory, "_TEXTS_AT_ONCE", 7)
    monkeypatch.setattr(memory, "TOKENS_AT_ONCE", 7 * 64)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("after", [1, 3, 5])
def test_an_interrupted_encoding_goes_on_and_ends_with_the_same_bytes(base, tmp_path, after, monkeypatch):
    encode_corpus(base, CORPUS, tmp_path / "whole")
    calls = []

    def stop(done, total):
        calls.append(done)
        if len(calls) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_corpus(base, CORPUS, tmp_path / "resumed", progress=stop)
    rest = []
    encode_corpus(base, CORPUS, tmp_path / "resumed", progress=lambda done, total: rest.append((done, total)))
    assert len(rest) == 6 - after
    assert rest[-1] == (40, 40)
    assert folder_fingerprint(tmp_path / "resumed") == folder_fingerprint(tmp_path / "whole")
    monkeypatch.undo()
    encode_corpus(base, CORPUS, tmp_path / "in one batch")
    arrays = ["pooled.npy", "tokens.npy", "scales.npy", "offsets.npy"]
    assert all(
        (tmp_path / "whole" / name).read_bytes() == (tmp_path / "in one batch" / name).read_bytes() for name in arrays
    )


@pytest.mark.usefixtures("small_batches")
def test_what_was_begun_with_other_texts_is_begun_again(base, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    other = {doc_id: doc._replace(text=doc.text[::-1]) for doc_id, doc in CORPUS.items()}
    with pytest.raises(KeyboardInterrupt):
        encode_corpus(base, other, tmp_path / "a", progress=stop)
    encode_corpus(base, CORPUS, tmp_path / "a")
    encode_corpus(base, CORPUS, tmp_path / "b")
    assert folder_fingerprint(tmp_path / "a") == folder_fingerprint(tmp_path / "b")
