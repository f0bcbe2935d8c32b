"""Retrieval: every score is the plain formula's, ties go by id, and nothing depends on the order of the corpus."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npt

from acclimate.base.digests import folder_fingerprint
from acclimate.base.testing import DOCS, QRELS, QUERIES, FakeRetriever, FakeScorer
from acclimate.deploy.updating.indexes import joined
from acclimate.records import Doc, Query, ScoredDoc
from acclimate.search.bm25 import BM25
from acclimate.search.candidates import fuse, min_max
from acclimate.search.four_bits import FourBits
from acclimate.search.members import BM25Member, DenseMember, Ids, LateInteractionMember
from acclimate.search.reranked import Reranked
from acclimate.search.system import System
from acclimate.search.vectors import Vectors, encode_corpus, quantized

CORPUS = {doc.doc_id: doc for doc in DOCS}
TEXTS = [doc.default_text() for doc in DOCS]
ODD = [Query("empty", ""), Query("strange", "zzzz qqqq"), Query("odd", "?!")]


@pytest.fixture(scope="module")
def bm25():
    return BM25.build(TEXTS)


@pytest.fixture(scope="module")
def loaded(tiny_encoder):
    from acclimate.search.encoder import Encoder

    return Encoder.load(str(tiny_encoder), max_tokens=64)


@pytest.fixture(scope="module")
def vectors(loaded, tmp_path_factory):
    return encode_corpus(loaded, CORPUS, tmp_path_factory.mktemp("vectors"))


@pytest.fixture(scope="module")
def members(bm25, loaded, vectors):
    return {
        "bm25": BM25Member(bm25),
        "dense": DenseMember(vectors, loaded),
        "late-interaction": LateInteractionMember(vectors, loaded),
    }


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
        assert vectors.max_sim(query, np.array(rows)) == pytest.approx(plain, abs=1e-5)
    assert vectors.max_sim(query, np.array([], dtype=np.int64)).shape == (0,)


def test_eight_bits_keep_a_vector():
    vectors = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    vectors[7] = 0.0
    codes, scales = in_eight_bits(vectors)
    assert (codes.dtype, scales.dtype) == (np.int8, np.float32)
    back = codes * scales[:, None]
    assert (np.abs(back - vectors) <= scales[:, None] / 2 + 1e-6).all()
    assert not back[7].any()


def test_without_token_vectors_the_pooled_ones_are_the_same(vectors, loaded, tmp_path):
    alone = encode_corpus(loaded, CORPUS, tmp_path, tokens_as=None)
    assert alone.pooled.tobytes() == vectors.pooled.tobytes()
    assert alone.tokens.size == alone.scales.size == alone.offsets.max() == 0


def test_token_vectors_in_four_bits_take_half_the_room_and_lie_near_those_in_eight(vectors, loaded, tmp_path):
    halves = encode_corpus(loaded, CORPUS, tmp_path / "four", tokens_as="int4")
    assert (vectors.kept, halves.kept) == ("int8", "int4")
    assert 2 * halves.tokens.nbytes == vectors.tokens.nbytes
    (in_eight, _), (in_four, _) = (kept.gather(range(40)) for kept in (vectors, halves))
    assert (in_eight * in_four).sum(axis=1).min() > 0.95  # of 32 components
    query, rows = loaded.encode(["lava and ash"])[0].tokens, np.arange(40)
    assert halves.max_sim(query, rows) == pytest.approx(vectors.max_sim(query, rows), abs=0.05)
    fewer = joined([halves], np.array([5, 3, 39]), tmp_path / "joined")
    for place, row in enumerate((5, 3, 39)):
        assert (fewer.gather([place])[0] == halves.gather([row])[0]).all()


@given(npt.arrays(np.int8, (3, 8), elements=st.integers(-7, 7)))
def test_four_bits_hold_every_number(numbers):
    kept = FourBits(np.empty((3, 4), np.uint8))
    kept[np.array([2, 0])], kept[1:2] = numbers[[2, 0]], numbers[1:2]
    assert kept.shape == numbers.shape
    assert (np.asarray(kept) == numbers).all()


def test_dense_scores_are_cosines_however_many_blocks(vectors, loaded, monkeypatch):
    queries = np.stack([one.pooled for one in loaded.encode([query.text for query in QUERIES])])
    whole = vectors.dense_scores(queries)
    assert whole == pytest.approx(queries @ np.asarray(vectors.pooled).T, abs=1e-5)
    monkeypatch.setattr("acclimate.search.vectors._NUMBERS_IN_CACHE", 7 * queries.shape[1])
    assert vectors.dense_scores(queries) == pytest.approx(whole, abs=1e-5)


def test_vectors_are_those_of_each_document_alone(vectors, loaded):
    assert len(vectors.pooled) == len(vectors.offsets) - 1 == 40
    assert vectors.offsets[-1] == len(vectors.tokens)
    for row in (0, 17, 39):
        alone = loaded.encode([TEXTS[row]])[0]
        # Half precision, where the machine computes in it: three digits
        assert vectors.pooled[row] == pytest.approx(alone.pooled, abs=0.03)
        own, starts = vectors.gather([row])
        assert starts.tolist() == [0]
        assert own.shape == alone.tokens.shape
        assert own == pytest.approx(alone.tokens, abs=0.05)
        assert np.linalg.norm(own, axis=1) == pytest.approx(np.ones(len(own)), abs=0.01)


def test_texts_without_a_known_token_have_a_vector(loaded):
    for encoded in loaded.encode(["", "zzzz", "?!"]):
        assert np.linalg.norm(encoded.pooled) == pytest.approx(1, abs=1e-3)
        assert len(encoded.tokens) >= 1
    assert loaded.encode([]) == []


@pytest.fixture
def small_batches(monkeypatch):
    from acclimate.base.memory import batches
    from acclimate.search import vectors

    monkeypatch.setattr(vectors, "batches", partial(batches, max_texts=7))


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("after", [1, 3, 5])
def test_an_interrupted_encoding_goes_on_and_ends_with_the_same_bytes(loaded, tmp_path, after, monkeypatch):
    encode_corpus(loaded, CORPUS, tmp_path / "whole")
    calls = []

    def stop(done, total):
        calls.append(done)
        if len(calls) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_corpus(loaded, CORPUS, tmp_path / "resumed", progress=stop)
    rest = []
    encode_corpus(loaded, CORPUS, tmp_path / "resumed", progress=lambda done, total: rest.append((done, total)))
    assert len(rest) == 6 - after
    assert rest[-1] == (40, 40)
    assert folder_fingerprint(tmp_path / "resumed") == folder_fingerprint(tmp_path / "whole")
    monkeypatch.undo()
    encode_corpus(loaded, CORPUS, tmp_path / "in one batch")
    arrays = ["pooled.npy", "tokens.npy", "scales.npy", "offsets.npy"]
    assert all(
        (tmp_path / "whole" / name).read_bytes() == (tmp_path / "in one batch" / name).read_bytes() for name in arrays
    )


@pytest.mark.usefixtures("small_batches")
def test_what_was_begun_with_other_texts_is_begun_again(loaded, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    other = {doc_id: doc._replace(text=doc.text[::-1]) for doc_id, doc in CORPUS.items()}
    with pytest.raises(KeyboardInterrupt):
        encode_corpus(loaded, other, tmp_path / "a", progress=stop)
    encode_corpus(loaded, CORPUS, tmp_path / "a")
    encode_corpus(loaded, CORPUS, tmp_path / "b")
    assert folder_fingerprint(tmp_path / "a") == folder_fingerprint(tmp_path / "b")


# Systems


WEIGHTS = [
    {"bm25": 1.0},
    {"dense": 1.0},
    {"late-interaction": 1.0},
    {"bm25": 0.3, "dense": 0.7},
    {"bm25": 0.2, "dense": 0.3, "late-interaction": 0.5},
    {"bm25": 0.5, "dense": 0.5, "late-interaction": 0.0},
]


def naive(members, sources, weights, query, depth, k):
    """The ranking, computed from all scores of all members in plain Python."""
    encoded = members["dense"].encoder.encode([query.text])
    scores = {name: member.views([query], encoded)[0].all_scores().tolist() for name, member in members.items()}
    rows = set()
    for name in sources:
        order = sorted(range(40), key=lambda row, own=scores[name]: (-own[row], IDS.doc_ids[row]))
        rows |= {row for row in order[:depth] if name != "bm25" or scores[name][row] > 0}
    used = [name for name, weight in weights.items() if weight]
    total = {}
    for row in rows:
        if len(used) == 1:
            total[row] = scores[used[0]][row]
            continue
        total[row] = 0.0
        for name in used:
            own = [scores[name][other] for other in rows]
            spread = max(own) - min(own)
            total[row] += weights[name] * ((scores[name][row] - min(own)) / spread if spread else 0.0)
    order = sorted(rows, key=lambda row: (-total[row], IDS.doc_ids[row]))
    return [(IDS.doc_ids[row], total[row]) for row in order[:k]]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize("sources", [["bm25"], ["dense"], ["bm25", "dense"]], ids="+".join)
def test_a_system_ranks_as_the_plain_computation_does(members, weights, sources):
    system = System(IDS, members, sources, weights, depth=6)
    for query in QUERIES[:8]:
        expected = naive(members, sources, weights, query, depth=6, k=5)
        found = system.search([query], 5)
        # depth grows with k; with k = 5 it is 6. Scores in float32, and of half-precision vectors: ties to 1e-4.
        assert {hit.query_id for hit in found} == {query.query_id} or not expected
        assert [hit.score for hit in found] == pytest.approx([score for _, score in expected], abs=2e-4)
        assert [hit.doc_id for hit in found] == [doc_id for doc_id, _ in expected]


def test_queries_together_find_what_each_finds_alone(members):
    system = System(IDS, members, ["bm25", "dense"], {"bm25": 0.5, "dense": 0.5}, depth=10)
    asked = [*QUERIES[:5], *ODD, *QUERIES[5:8]]
    together = system.search(asked, 3)
    assert list(dict.fromkeys(hit.query_id for hit in together)) == [query.query_id for query in asked]
    for query in asked:
        assert [hit for hit in together if hit.query_id == query.query_id] == system.search([query], 3)


def test_every_candidate_is_scored_by_every_member(members):
    weights = dict.fromkeys(members, 1.0)
    for one in System(IDS, members, ["bm25"], weights, depth=10).candidates(QUERIES[:5]):
        encoded = members["dense"].encoder.encode([one.query.text])
        assert set(one.scores) == set(members)
        for name, member in members.items():
            expected = member.views([one.query], encoded)[0].all_scores()[one.rows]
            assert one.scores[name].tobytes() == expected.tobytes()
        assert one.rows.tolist() == sorted(set(one.rows.tolist()))


def test_a_member_without_weight_is_not_asked(members):
    class Silent:
        encoder = None
        fingerprint = "silent"

        def views(self, queries, encoded):
            raise AssertionError("asked")

    system = System(IDS, {**members, "silent": Silent()}, ["bm25"], {"bm25": 1.0, "silent": 0.0})
    assert system.search(QUERIES[:2], 3)


def test_a_query_that_matches_nothing_finds_nothing_by_words_and_something_by_vectors(members):
    assert System(IDS, members, ["bm25"], {"bm25": 1.0}).search(ODD, 10) == []
    assert System(IDS, members, ["bm25"], {"bm25": 0.5, "late-interaction": 0.5}).search(ODD, 10) == []
    found = System(IDS, members, ["bm25", "dense"], {"bm25": 0.5, "dense": 0.5}).search(ODD, 10)
    assert [hit.query_id for hit in found] == ["empty"] * 10 + ["strange"] * 10 + ["odd"] * 10


def test_more_than_there_is(members):
    found = System(IDS, members, ["dense"], {"dense": 1.0}, depth=5).search(QUERIES[:2], 1000)
    assert len(found) == 80
    assert {hit.doc_id for hit in found} == set(CORPUS)
    assert System(IDS, members, ["dense"], {"dense": 1.0}).search([], 10) == []


def test_the_order_of_the_corpus_does_not_matter(loaded, tmp_path):
    def system(docs, folder):
        corpus = {doc.doc_id: doc for doc in docs}
        vectors = encode_corpus(loaded, corpus, folder)
        bm25 = BM25.build(doc.default_text() for doc in docs)
        members = {"bm25": BM25Member(bm25), "dense": DenseMember(vectors, loaded)}
        return System(Ids(list(corpus)), members, ["bm25", "dense"], {"bm25": 1.0})

    copies = [*DOCS[:20], *(doc._replace(doc_id=f"a{doc.doc_id}") for doc in DOCS[:20])]
    one, other = system(copies, tmp_path / "a"), system(copies[::-1], tmp_path / "b")
    first, second = (s.search(QUERIES[:20], 4) for s in (one, other))
    assert [hit.doc_id for hit in first if hit.score > 0] == [hit.doc_id for hit in second if hit.score > 0]


def test_a_fingerprint_tells_systems_apart(members):
    prints = {
        System(IDS, members, sources, weights, depth).fingerprint
        for sources in (["bm25"], ["dense"])
        for weights in WEIGHTS
        for depth in (10, 20)
    }
    assert len(prints) == 2 * len(WEIGHTS) * 2


@given(st.lists(st.floats(-100, 100, width=32), max_size=8))
def test_min_max(values):
    scores = np.array(values, dtype=np.float32)
    brought = min_max(scores)
    assert len(brought) == len(scores)
    if len(set(values)) > 1:
        assert (brought.min(), brought.max()) == (0.0, 1.0)
        assert all(a <= b for a, b in zip(brought[np.argsort(scores)], brought[np.argsort(scores)][1:], strict=False))
    else:
        assert not brought.any()


def test_one_member_keeps_its_scale(members):
    one = next(System(IDS, members, ["bm25"], {"bm25": 1.0}).candidates(QUERIES[:1]))
    assert np.array_equal(fuse(one, {"bm25": 0.2}), one.scores["bm25"])


# Reranked

FIRST = {
    query.text: {f"d{n:02}": float(offset - n) for n in range(12)}
    for query, offset in zip(QUERIES[:3], (100, 6, -3), strict=True)
}


@pytest.mark.parametrize("sign", [1, -1, 1000, -1e-6])
@pytest.mark.parametrize(("depth", "k"), [(4, 12), (4, 4), (8, 4), (4, 1000), (1, 6)])
@pytest.mark.parametrize("weight", [1.0, 0.5, 0.0])
def test_the_tail_lies_below_the_head_in_its_old_order(sign, depth, k, weight):
    scorer = FakeScorer(lambda text, doc_id: sign * float(doc_id[1:]))
    found = Reranked(FakeRetriever(FIRST), scorer, depth, weight).search(QUERIES[:3], k)
    for query in QUERIES[:3]:
        own = [hit for hit in found if hit.query_id == query.query_id]
        old = [f"d{n:02}" for n in range(12)]
        assert len(own) == min(k, 12)
        assert {hit.doc_id for hit in own[:depth]} <= set(old[:depth])
        assert [hit.doc_id for hit in own[depth:]] == old[depth:k]
        assert own == sorted(own, key=lambda hit: (-hit.score, hit.doc_id))
        assert all(above.score > below.score for above, below in zip(own[depth - 1 :], own[depth:], strict=False))
        if weight == 1.0:
            head = sorted(old[:depth], reverse=sign > 0)
            assert [hit.doc_id for hit in own[:depth]] == head[:k]
        if weight == 0.0:
            assert [hit.doc_id for hit in own] == old[:k]


def test_ties_of_the_scorer_go_by_id_and_only_the_head_is_asked():
    asked = []

    def rate(text, doc_id):
        asked.append(doc_id)
        return 0.0

    found = Reranked(FakeRetriever(FIRST), FakeScorer(rate), depth=5).search(QUERIES[:1], 7)
    assert [hit.doc_id for hit in found] == [f"d{n:02}" for n in range(7)]
    assert asked == [f"d{n:02}" for n in range(5)]


def test_reranking_nothing():
    assert Reranked(FakeRetriever({}), FakeScorer(lambda text, doc_id: 1.0)).search(QUERIES, 5) == []


def test_a_reranked_retriever_is_a_retriever():
    one = Reranked(FakeRetriever(FIRST), FakeScorer(lambda text, doc_id: float(doc_id[1:])), depth=5)
    two = Reranked(one, FakeScorer(lambda text, doc_id: -float(doc_id[1:])), depth=2)
    found = two.search(QUERIES[:1], 4)
    assert [hit.doc_id for hit in found] == ["d03", "d04", "d02", "d01"]
    assert found[0] == ScoredDoc("q00", "d03", 1.0)
    assert len({one.fingerprint, two.fingerprint, FakeRetriever(FIRST).fingerprint}) == 3


def test_documents_are_read_with_their_titles(loaded, tmp_path):
    corpus = {"a": Doc("a", "long waves", "Tsunami"), "b": Doc("b", "long waves")}
    vectors = encode_corpus(loaded, corpus, tmp_path)
    assert np.diff(vectors.offsets).tolist() == [3, 2]
