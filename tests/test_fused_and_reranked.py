"""What a system ranks is the plain computation from its members' scores, and what a reranker makes of that."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_retrieve import CORPUS, IDS, ODD, TEXTS

from acclimate.base.testing import DOCS, QUERIES, FakeRetriever, FakeScorer
from acclimate.records import Doc, ScoredDoc
from acclimate.search.bm25 import BM25
from acclimate.search.candidates import fuse, min_max
from acclimate.search.members import BM25Member, DenseMember, Ids, LateInteractionMember
from acclimate.search.reranked import Reranked
from acclimate.search.system import System
from acclimate.search.vectors import encode_corpus
from acclimate.search.views import Views


@pytest.fixture(scope="module")
def bm25():
    return BM25.build(TEXTS)


@pytest.fixture(scope="module")
def members(bm25, base, data):
    return {
        "bm25": BM25Member(bm25),
        "dense": DenseMember(data.vectors, base),
        "late-interaction": LateInteractionMember(data.vectors, base),
    }


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
    scores = {
        name: member.views([query], encoded, Views())[0].all_scores().tolist() for name, member in members.items()
    }
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
            expected = member.views([one.query], encoded, Views())[0].all_scores()[one.rows]
            assert one.scores[name].tobytes() == expected.tobytes()
        assert one.rows.tolist() == sorted(set(one.rows.tolist()))


def test_a_member_without_weight_is_not_asked(members):
    class Silent:
        encoder = None
        fingerprint = "silent"

        def views(self, queries, encoded, others):
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


def test_the_order_of_the_corpus_does_not_matter(base, tmp_path):
    def system(docs, folder):
        corpus = {doc.doc_id: doc for doc in docs}
        vectors = encode_corpus(base, corpus, folder)
        bm25 = BM25.build(doc.default_text() for doc in docs)
        members = {"bm25": BM25Member(bm25), "dense": DenseMember(vectors, base)}
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

    first = FakeRetriever({QUERIES[0].text: {f"d{n}": float(n) for n in range(9)}})
    found = Reranked(first, FakeScorer(rate), depth=5).search(QUERIES[:1], 7)
    assert [hit.doc_id for hit in found] == ["d4", "d5", "d6", "d7", "d8", "d3", "d2"]
    assert sorted(asked) == ["d4", "d5", "d6", "d7", "d8"]


def test_reranking_nothing():
    assert Reranked(FakeRetriever({}), FakeScorer(lambda text, doc_id: 1.0)).search(QUERIES, 5) == []


def test_a_reranked_retriever_is_a_retriever():
    one = Reranked(FakeRetriever(FIRST), FakeScorer(lambda text, doc_id: float(doc_id[1:])), depth=5)
    two = Reranked(one, FakeScorer(lambda text, doc_id: -float(doc_id[1:])), depth=2)
    found = two.search(QUERIES[:1], 4)
    assert [hit.doc_id for hit in found] == ["d03", "d04", "d02", "d01"]
    assert found[0] == ScoredDoc("q00", "d03", 1.0)
    assert len({one.fingerprint, two.fingerprint, FakeRetriever(FIRST).fingerprint}) == 3


def test_documents_are_read_with_their_titles(base, tmp_path):
    corpus = {"a": Doc("a", "long waves", "Tsunami"), "b": Doc("b", "long waves")}
    vectors = encode_corpus(base, corpus, tmp_path)
    assert np.diff(vectors.offsets).tolist() == [3, 2]
