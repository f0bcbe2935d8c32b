"""What is measured is what is served and what was chosen: one pool of candidates, however many are asked for."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knowing import View

from acclimate.base.testing import FakeScorer
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.records import Qrel, Query
from acclimate.search import measuring, systems
from acclimate.search.choice import choose, choose_reranker_weight
from acclimate.search.max_passage import MaxPassage
from acclimate.search.members import BM25Member, DenseMember, Ids, LateInteractionMember, SparseMember
from acclimate.search.reranked import Reranked
from acclimate.search.system import System

DOCS = 60
QUERIES = [Query(f"q{number}", f"query {number}") for number in range(12)]
PASSAGES = {
    f"{chr(97 + row % 26)}{'!' * (row % 3)}#{row}": f"{chr(97 + row % 26)}{'!' * (row % 3)}" for row in range(DOCS)
}
PLAIN, SPLIT = Ids([f"d{row * 7 % DOCS}" for row in range(DOCS)]), Ids(list(PASSAGES), PASSAGES)


def member(kind, seed, steps):
    """A member that scores at random in `steps` steps, so that there are ties; a lexical one finds half of the docs."""

    class Drawn(kind):
        fingerprint = f"{kind.__name__} {seed}"
        encoder = None

        def __init__(self):
            pass

        def views(self, queries, encoded, others):
            return [self.view(query) for query in queries]

        def view(self, query):
            rng = np.random.default_rng([seed, int(query.query_id[1:])])
            values = rng.integers(0, steps, DOCS).astype(np.float32) / np.float32(3)
            if kind in (BM25Member, SparseMember):
                values *= rng.integers(0, 2, DOCS)
            return View(values)

    return Drawn()


def members_of(seed, steps):
    kinds = {
        "bm25": BM25Member,
        "dense": DenseMember,
        "late-interaction": LateInteractionMember,
        "dense:adapted": DenseMember,
        "late-interaction:adapted": LateInteractionMember,
        "sparse:adapted": SparseMember,
    }
    return {name: member(kind, seed * 10 + at, steps) for at, (name, kind) in enumerate(kinds.items())}


def scorer(steps):
    return FakeScorer(lambda text, doc_id: float(hash_of(text, doc_id) % steps))


def hash_of(*parts):
    return sum(ord(char) * (at + 1) ** 2 for at, char in enumerate("".join(parts)))


weights = st.dictionaries(  # none: ranks are added
    st.sampled_from(["bm25", "dense", "late-interaction", "dense:adapted"]), st.integers(1, 9)
).map(lambda found: {name: tenths / 10 for name, tenths in found.items()})


@settings(max_examples=60)
@given(
    weights=weights,
    depth=st.integers(1, 70),
    steps=st.sampled_from([1, 2, 5, 10**6]),
    ids=st.sampled_from([PLAIN, SPLIT]),
    rerank=st.sampled_from([0, 3, 20]),
    seed=st.integers(0, 99),
)
def test_who_asks_for_more_gets_the_same_at_the_top(weights, depth, steps, ids, rerank, seed):
    members = members_of(seed, steps)
    one = System(ids, members, systems.sources_of(weights, members), weights, depth)
    if rerank:
        one = Reranked(one, scorer(steps), rerank, 0.6)
    if ids.parents:
        one = MaxPassage(one, ids.parents)
    asked = QUERIES[:2]
    whole = {query.query_id: one.search([query], 10**6) for query in asked}
    for k in (1, 2, 3, 5, 10, 11, 30, 59, 60, 61, 100):
        found = one.search(asked, k)
        for query in asked:
            own = [hit for hit in found if hit.query_id == query.query_id]
            assert own == whole[query.query_id][:k]
    for hits in whole.values():
        assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.doc_id))
        assert len({hit.doc_id for hit in hits}) == len(hits)


def test_dense_retrieval_goes_on_to_the_last_document_with_its_own_scores():
    members = members_of(1, 10**6)
    few, all_ = (System(PLAIN, members, ["dense"], {"dense": 1.0}, depth).search(QUERIES, DOCS) for depth in (7, DOCS))
    assert few == all_
    assert len(few) == DOCS * len(QUERIES)


def test_a_source_that_finds_no_more_does_not_end_the_search_of_another():
    hits = System(PLAIN, members_of(1, 10**6), ["bm25", "dense"], {"bm25": 0.5, "dense": 0.5}, 7).search(QUERIES, DOCS)
    assert len(set(hits)) == len(hits) == DOCS * len(QUERIES)


@pytest.mark.parametrize(
    ("ids", "synthetic", "steps", "depth"),
    [*product([PLAIN, SPLIT], [True, False], [4, 10**6], [20]), (PLAIN, True, 9, 3)],
)
def test_what_a_choice_rests_on_is_what_is_measured_on_the_same_queries(monkeypatch, ids, synthetic, steps, depth):
    monkeypatch.setattr(systems, "DEPTH", 15)  # so that members' candidates differ
    members, rated = members_of(steps % 7, steps), scorer(steps)
    documents = list(ids.document_row)
    qrels = [
        Qrel(query.query_id, documents[(number * step + first) % len(documents)], grade)
        for number, query in enumerate(QUERIES)
        for step, first, grade in ((5, 0, 2), (11, 3, 1))
    ]
    held_out = JudgedQueries("synthetic" if synthetic else "dev", QUERIES, qrels)
    done = []

    def weigh(name, first):
        return choose_reranker_weight(first, rated, held_out, depth, progress=lambda *counts: done.append(counts))

    chosen = choose(
        ids,
        members,
        held_out,
        weigh,
        rerank=("hybrid", "bm25", "hybrid:tuned", "hybrid:adapted"),
    )
    assert done == 4 * [(number, len(QUERIES)) for number in range(1, len(QUERIES) + 1)]
    made = systems.contenders(ids, members, chosen, {"reranker": rated}, dict.fromkeys(members, 1), rerank_depth=depth)
    assert [one.name for one in made] == list(chosen.ndcg)
    for one in made:
        measured = measuring.mean(measuring.ndcg(one.retriever, held_out))
        assert measured == pytest.approx(chosen.ndcg[one.name], abs=2e-5), one.name


def test_a_search_within_some_documents_scores_no_others(monkeypatch):
    scored = []
    monkeypatch.setattr(View, "begin", lambda view, rows: scored.extend(rows))
    monkeypatch.setattr(View, "scores", lambda view, rows: (scored.extend(rows), view.values[rows])[1])
    whole = System(PLAIN, members_of(1, 50), ["bm25", "dense"], {"bm25": 0.5, "late-interaction": 0.5}, 5)
    hits = replace(whole, within=np.arange(20)).search(QUERIES, 9)
    assert {PLAIN.row[hit.doc_id] for hit in hits} <= {*scored} == {*range(20)}


def test_a_member_whose_weight_came_out_as_nothing_still_finds_candidates():
    members = members_of(3, 10**6)
    system = systems.system_of(PLAIN, members, {"bm25": 0.0, "dense": 1.0, "late-interaction": 0.0})
    assert (list(system.sources), dict(system.weights)) == (["bm25", "dense"], {"dense": 1.0})
    shallow = replace(system, depth=3)
    assert {hit.doc_id for hit in shallow.search(QUERIES[:1], 5)} > {
        hit.doc_id for hit in replace(shallow, sources=["dense"]).search(QUERIES[:1], 3)
    }
