"""Reciprocal rank fusion, what search engines give by default: the hybrid that people have."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pools import PASSAGES, PLAIN, QUERIES, SPLIT, members_of

from acclimate.records import Query
from acclimate.search import systems
from acclimate.search.candidates import Candidates, fuse
from acclimate.search.max_passage import MaxPassage
from acclimate.search.system import System

STEPS = st.sampled_from([1, 2, 5, 10**6])  # scores that differ, from none to all


def reference(lists):
    """doc id -> reciprocal rank fusion with k = 60, as the paper has it."""
    ids = {doc_id for ranked in lists for doc_id in ranked}
    return {doc_id: sum(1 / (60 + ranked.index(doc_id) + 1) for ranked in lists if doc_id in ranked) for doc_id in ids}


def ranked_by(members, name, query, depth, ids=PLAIN):
    """What one member finds alone: nothing that it scores 0, where that means not found."""
    scores = members[name].view(query).all_scores()
    order = sorted(range(len(ids)), key=lambda row: (-scores[row], ids.doc_ids[row]))
    return [ids.doc_ids[row] for row in order if name == "dense" or scores[row] > 0][:depth]


def fused(lists, rows, order=None):
    """What `fuse` says of each row."""
    by_source = {name: np.array(ranked, np.int64) for name, ranked in lists.items()}
    return fuse(Candidates(Query("q", ""), np.array(rows, np.int64), {}, rows_by_source=by_source), {})


rankings = st.lists(st.integers(0, 30), unique=True, max_size=20)


@given(first=rankings, second=rankings, third=rankings, rng=st.randoms())
def test_it_is_the_formula_of_the_paper_whatever_the_order_of_candidates_and_sources(
    first, second, third, rng: random.Random
):
    lists = {"a": first, "b": second, "c": third}
    rows = rng.sample(range(40), 40)
    expected = reference([first, second, third])
    values = fused(lists, rows)
    assert np.allclose(values, [expected.get(row, 0.0) for row in rows], rtol=1e-6, atol=0)
    shuffled = dict(rng.sample(sorted(lists.items()), 3))
    again = dict(zip(sorted(rows), fused(shuffled, sorted(rows)).tolist(), strict=True))
    assert again == dict(zip(rows, values.tolist(), strict=True))


@settings(max_examples=40)
@given(steps=STEPS, depth=st.integers(1, 70), seed=st.integers(0, 99))
def test_the_hybrid_adds_the_ranks_of_bm25_and_dense(steps, depth, seed):
    members = members_of(seed, steps)
    system = System(PLAIN, members, ["bm25", "dense"], {}, depth)
    for query in QUERIES[:3]:
        expected = reference([ranked_by(members, name, query, depth) for name in ("bm25", "dense")])
        best = sorted(expected, key=lambda doc_id: (-np.float32(expected[doc_id]), doc_id))
        hits = system.search([query], len(expected))
        assert {hit.doc_id for hit in hits} == {*expected}
        assert np.allclose([hit.score for hit in hits], [expected[doc_id] for doc_id in best], rtol=1e-6)
        assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.doc_id))


@settings(max_examples=30)
@given(steps=STEPS, depth=st.integers(1, 70), seed=st.integers(0, 99), name=st.sampled_from(["bm25", "dense"]))
def test_with_one_source_it_is_the_order_of_that_source(steps, depth, seed, name):
    members = members_of(seed, steps)
    hits = System(PLAIN, members, [name], {}, depth).search(QUERIES[:3], 100)
    for query in QUERIES[:3]:
        assert [hit.doc_id for hit in hits if hit.query_id == query.query_id] == ranked_by(members, name, query, 100)


def test_a_document_ranks_where_its_best_passage_does():
    members = members_of(4, 10**6)
    system = systems.system_of(SPLIT, members, {})
    passages = system.search(QUERIES[:1], 100)
    documents = [hit.doc_id for hit in MaxPassage(system, PASSAGES).search(QUERIES[:1], 100)]
    assert documents == list(dict.fromkeys(PASSAGES[hit.doc_id] for hit in passages))
