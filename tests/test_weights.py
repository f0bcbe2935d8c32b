"""Weights: the best member is found, trust says how far it is believed, and nDCG is the one that is reported."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.base.errors import DataError
from acclimate.measure.measures import per_query
from acclimate.records import Qrel, Query, ScoredDoc
from acclimate.search.candidates import Candidates, fuse
from acclimate.search.weights import choose_weights, mean_ndcg, ndcg_of_weights

NAMES = ["good", "noise", "other"]


def candidates(number, scores, rows=None):
    rows = np.arange(len(next(iter(scores.values())))) if rows is None else np.array(rows)
    return Candidates(
        Query(f"q{number}", f"query {number}"), rows, {name: np.array(s, np.float32) for name, s in scores.items()}
    )


def planted(n_queries=60, n_docs=20, seed=0):
    """Queries whose row 3 is the answer; `good` knows, the others draw."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n_queries):
        good = rng.random(n_docs)
        good[3] = 2.0
        found.append(candidates(number, {"good": good, "noise": rng.random(n_docs), "other": rng.random(n_docs)}))
    return found, [{3: 1}] * n_queries


def test_the_planted_best_member_gets_the_weight():
    found, answers = planted()
    chosen = choose_weights(found, answers, NAMES, trust=1.0)
    assert chosen.weights["good"] >= 0.5
    assert chosen.ndcg == pytest.approx(1.0, abs=0.01)
    assert sum(chosen.weights.values()) == pytest.approx(1, abs=1e-3)
    assert mean_ndcg(found, answers, "good") == 1.0
    assert mean_ndcg(found, answers, "noise") < 0.5


def test_without_trust_weights_are_equal_and_half_of_it_goes_half_way():
    found, answers = planted()
    none, half, full = (choose_weights(found, answers, NAMES, trust=trust).weights for trust in (0.0, 0.5, 1.0))
    assert set(none.values()) == {0.3333}
    assert half == pytest.approx({name: (none[name] + full[name]) / 2 for name in NAMES}, abs=2e-4)


def test_the_ndcg_is_that_of_the_weights_chosen():
    found, answers = planted(seed=1)
    for trust in (0.0, 0.5):
        chosen = choose_weights(found, answers, NAMES, trust=trust)
        own = [ndcg_of_weights([one], [grades], NAMES, np.array([list(chosen.weights.values())], np.float32)).item()
               for one, grades in zip(found, answers, strict=True)]  # fmt: skip
        assert chosen.ndcg == pytest.approx(float(np.mean(own)), abs=1e-9)


def test_the_order_of_the_queries_does_not_matter():
    found, answers = planted()
    assert (
        choose_weights(found[::-1], answers, NAMES, trust=0.5).weights
        == choose_weights(found, answers, NAMES, trust=0.5).weights
    )


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=15), min_size=1, max_size=4).filter(
        lambda queries: all(any(grades) for grades in queries)
    ),
    st.randoms(use_true_random=False),
)
def test_ndcg_agrees_with_the_measure_that_is_reported(graded, rng):
    found, answers, run, qrels = [], [], [], []
    weights = {"a": 0.3, "b": 0.7}
    for number, grades in enumerate(graded):
        n = len(grades)
        a, b = rng.sample(range(n), n), rng.sample([1.7**at for at in range(n)], n)
        one = candidates(number, {"a": a, "b": b})
        total = fuse(one, weights)
        if len(set(total.tolist())) < n:
            return
        found.append(one)
        answers.append(dict(enumerate(grades)))
        run += [ScoredDoc(one.query.query_id, f"d{row}", float(total[row])) for row in range(n)]
        qrels += [Qrel(one.query.query_id, f"d{row}", grade) for row, grade in enumerate(grades)]
    expected = list(per_query(run, qrels, ["nDCG@10"])["nDCG@10"].values())
    got = ndcg_of_weights(found, answers, list(weights), np.array([list(weights.values())], np.float32))[:, 0]
    assert got == pytest.approx(expected, abs=1e-6)


def test_a_higher_grade_is_worth_more_at_the_top():
    one = candidates(0, {"up": [2.0, 1.0, 0.0], "down": [1.0, 2.0, 0.0]})
    values = ndcg_of_weights([one], [{0: 3, 1: 1}], ["up", "down"], np.eye(2, dtype=np.float32))[0]
    assert values[0] == pytest.approx(1.0)
    assert values[1] == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))


def test_an_answer_that_was_not_found_counts_in_the_ideal_alone():
    one = candidates(0, {"a": [2.0, 1.0]}, rows=[4, 7])
    value = ndcg_of_weights([one], [{7: 1, 99: 1}], ["a"], np.ones((1, 1), np.float32)).item()
    assert value == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))
    assert ndcg_of_weights([one], [{99: 1}], ["a"], np.ones((1, 1), np.float32)).item() == 0.0


def test_ties_rank_by_the_ids_of_their_documents_as_when_they_are_measured():
    one = candidates(0, {"a": [1.0, 1.0, 1.0, 0.0]})
    for places, rank in (([0, 1, 2, 3], 1), ([5, 1, 2, 0], 3), ([2, 1, 3, 0], 2)):
        placed = one._replace(document_ranks=np.array(places))
        value = ndcg_of_weights([placed], [{0: 1}], ["a"], np.ones((1, 1), np.float32)).item()
        assert value == pytest.approx(1 / np.log2(1 + rank))


def test_rank_ten_counts_and_rank_eleven_does_not():
    one = candidates(0, {"a": list(range(20, 0, -1))})
    values = [ndcg_of_weights([one], [{row: 1}], ["a"], np.ones((1, 1), np.float32)).item() for row in (9, 10)]
    assert values == [pytest.approx(1 / np.log2(11)), 0.0]


def test_a_query_without_candidates_or_answers_counts_nothing():
    empty = candidates(0, {"a": []})
    assert ndcg_of_weights([empty], [{3: 1}], ["a"], np.ones((1, 1), np.float32)).item() == 0.0
    assert ndcg_of_weights([candidates(0, {"a": [1.0, 0.0]})], [{}], ["a"], np.ones((1, 1), np.float32)).item() == 0.0


def test_without_queries_there_is_nothing_to_choose_on():
    with pytest.raises(DataError, match="no held-out queries"):
        choose_weights([], [], NAMES, trust=1.0)
