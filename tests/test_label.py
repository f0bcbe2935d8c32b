"""Labels: the teacher is who helps on held-out queries, and its lists hold the source, first, with scores in [0, 1]."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.errors import DataError
from acclimate.records import SyntheticQuery
from acclimate.retrieve.members import Ids
from acclimate.retrieve.system import Candidates
from acclimate.retrieve.weights import HeldOut
from acclimate.stages.label import RERANKER, label
from acclimate.testing import FakeScorer

DOC_IDS = [f"d{n:02}" for n in range(50)]
IDS = Ids(DOC_IDS)
MEMBERS = ("bm25", "dense")
QUERIES = [SyntheticQuery(f"q{n:02}", f"query about {n}", DOC_IDS[n], -1.0) for n in range(40)]
TRAIN, DEV = QUERIES[:25], QUERIES[25:]
HELD_OUT = HeldOut([query.as_query() for query in DEV], [{IDS.row[query.doc_id]: 1} for query in DEV], synthetic=True)


def draw(*parts):
    """A generator of random numbers that follows from the parts."""
    return np.random.default_rng(list("|".join(map(str, parts)).encode()))


def find(queries):
    """All documents; the source is near the top for both members."""
    for query in queries:
        source = int(query.text.split()[-1])
        scores = {}
        for at, name in enumerate(MEMBERS):
            values = draw(query.text, name).random(50).astype(np.float32)
            values[source] = 0.85 + 0.05 * at
            scores[name] = values
        yield Candidates(query, np.arange(50), scores)


class Counting(FakeScorer):
    """Remembers which queries it was asked about."""

    def score(self, pairs):
        asked.update(query.text for query, _ in pairs)
        return super().score(pairs)


asked: set[str] = set()


@pytest.fixture(autouse=True)
def _nobody_asked():
    asked.clear()


PERFECT = Counting(lambda text, doc_id: 5.0 if int(text.split()[-1]) == int(doc_id[1:]) else -3.0)
NOISE = Counting(lambda text, doc_id: float(draw(text, doc_id, "noise").random()))


@pytest.mark.parametrize("reranker", [None, PERFECT, NOISE])
def test_every_list_holds_its_source_first_and_scores_between_0_and_1(reranker):
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: reranker} if reranker else {}, n_ways=8)
    for examples, queries in ((made.train, TRAIN), (made.dev, DEV)):
        assert [example.query_id for example in examples] == [query.query_id for query in queries]
        for example, query in zip(examples, queries, strict=True):
            assert example.doc_ids[0] == query.doc_id
            assert len(example.doc_ids) == len(set(example.doc_ids)) == len(example.scores) == 8
            assert min(example.scores) == 0.0
            assert max(example.scores) == 1.0
            assert list(example.scores[1:]) == sorted(example.scores[1:], reverse=True)
    assert made.dropped == {"source not among the candidates": 0}
    assert 0 < made.entropy < 1


def test_a_perfect_reranker_teaches():
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT}, n_ways=8)
    of = {teacher["name"]: teacher for teacher in made.teachers}
    assert of[RERANKER]["used"]
    assert of[RERANKER]["nDCG@10"] == 1.0
    assert made.weights[RERANKER] >= 0.3
    assert sum(made.weights.values()) == pytest.approx(1, abs=1e-3)
    assert of["teacher"]["nDCG@10"] > of["bm25"]["nDCG@10"]
    assert asked == {query.text for query in QUERIES}
    assert all(example.scores[0] == 1.0 for example in made.train)


def test_a_random_reranker_gets_no_weight_and_is_not_asked_about_training_queries():
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: NOISE}, n_ways=8)
    of = {teacher["name"]: teacher for teacher in made.teachers}
    assert (of[RERANKER]["used"], of[RERANKER]["weight"]) == (False, 0.0)
    assert "does not help" in of[RERANKER]["reason"]
    assert RERANKER not in made.weights
    assert asked == {query.text for query in DEV}
    assert made.train == label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {}, n_ways=8).train


def test_a_gain_below_the_least_gain_is_none():
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT}, n_ways=8, min_gain=0.9)
    assert RERANKER not in made.weights


def test_a_reranker_that_teaches_shortens_the_lists_to_what_it_is_asked_to_rate():
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT}, n_ways=30, reranker_ways=12)
    assert RERANKER in made.weights
    assert {len(example.doc_ids) for example in (*made.train, *made.dev)} == {12}
    without = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {}, n_ways=30, reranker_ways=12)
    assert {len(example.doc_ids) for example in (*without.train, *without.dev)} == {30}


def test_trust_moves_weights_away_from_equal_ones():
    def skewed(queries):
        for one in find(queries):
            source = int(one.query.text.split()[-1])
            one.scores["bm25"][source] = 2.0
            yield one

    equal, chosen = (
        label(TRAIN, DEV, HELD_OUT, skewed, IDS, MEMBERS, {}, n_ways=32, trust=trust).weights for trust in (0.0, 1.0)
    )
    assert equal == {"bm25": 0.5, "dense": 0.5}
    assert chosen["bm25"] > 0.6


def test_a_source_below_the_cut_takes_the_last_place():
    def low(queries):
        for one in find(queries):
            for scores in one.scores.values():
                scores[int(one.query.text.split()[-1])] = -1.0
            yield one

    made = label(TRAIN, DEV, HELD_OUT, low, IDS, MEMBERS, {}, n_ways=5)
    assert [example.doc_ids[0] for example in made.train] == [query.doc_id for query in TRAIN]
    assert {len(example.doc_ids) for example in made.train} == {5}
    assert {example.scores[0] for example in made.train} == {0.0}


def test_a_source_at_the_top_stays():
    def top(queries):
        for one in find(queries):
            for scores in one.scores.values():
                scores[int(one.query.text.split()[-1])] = 9.0
            yield one

    made = label(TRAIN, DEV, HELD_OUT, top, IDS, MEMBERS, {}, n_ways=5)
    assert [example.doc_ids[0] for example in made.train] == [query.doc_id for query in TRAIN]
    assert {example.scores[0] for example in made.train} == {1.0}


def test_queries_whose_source_was_not_found_are_counted():
    def without_even(queries):
        for one in find(queries):
            source = int(one.query.text.split()[-1])
            rows = np.array([row for row in one.rows if row != source or source % 2])
            yield Candidates(one.query, rows, {name: scores[rows] for name, scores in one.scores.items()})

    made = label(TRAIN, DEV, HELD_OUT, without_even, IDS, MEMBERS, {})
    assert [example.query_id for example in made.train] == [query.query_id for query in TRAIN[1::2]]
    assert made.dropped == {"source not among the candidates": 20}


def test_what_a_query_is_taught_does_not_depend_on_the_others():
    whole = {e.query_id: e for e in label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT}).train}
    some = label(TRAIN[::-3], DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT}).train
    assert some == [whole[query.query_id] for query in TRAIN[::-3]]


def test_fewer_candidates_than_ways():
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {}, n_ways=100)
    assert {len(example.doc_ids) for example in made.train} == {50}


def test_nothing_held_out_is_an_error_and_nothing_to_teach_is_not():
    with pytest.raises(DataError, match="no held-out queries"):
        label(TRAIN, [], HeldOut([], [], synthetic=True), find, IDS, MEMBERS, {})
    made = label([], DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT})
    assert (made.train, made.entropy) == ([], 0.0)
