"""Importance weights: queries that look like the wanted ones count more, and no odd input makes them anything else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from acclimate.measure.importance import _capped, effective, importance_weights

NONE = np.empty((0, 3))


def sights(n, middle=(0.0, 0.0, 0.0), seed=0):
    return np.random.default_rng(seed).normal(middle, 1, (n, 3))


def seen(min_size=0):
    """Rows of three numbers, many of them equal."""
    numbers = st.sampled_from([0.0, 0.5, 1.0, 7.0, -1e6]) | st.floats(-1e9, 1e9)
    return arrays.arrays(np.float64, st.tuples(st.integers(min_size, 40), st.just(3)), elements=numbers)


@given(seen(min_size=1), seen())
def test_weights_are_shares_whatever_was_seen(queries, wanted):
    weights = importance_weights(queries, wanted)
    assert weights.shape == (len(queries),)
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()
    assert weights.max() <= 10 / len(queries) + 1e-9


def test_weights_are_equal_where_there_is_nothing_to_look_like():
    assert importance_weights(sights(4), NONE).tolist() == [0.25] * 4
    assert importance_weights(NONE, sights(4)).tolist() == []
    assert importance_weights(NONE, NONE).tolist() == []


def test_weights_are_about_equal_where_both_look_the_same():
    weights = importance_weights(sights(500), sights(500, seed=1))
    assert effective(weights) > 450
    assert importance_weights(np.ones((9, 3)), np.ones((5, 3))) == pytest.approx([1 / 9] * 9)


def test_weights_move_what_was_seen_towards_the_wanted():
    queries = sights(400)
    for middle in ((1.0, 0.0, 0.0), (0.0, -1.0, 0.5)):
        weights = importance_weights(queries, sights(100, middle, seed=1))
        before, after = np.abs(queries.mean(axis=0) - middle), np.abs(weights @ queries - middle)
        assert after.sum() < before.sum() / 2


def test_spreads_are_matched_too():
    queries, wanted = sights(400), sights(200, seed=1) * 0.5
    weights = importance_weights(queries, wanted)
    assert weights @ queries**2 == pytest.approx((wanted**2).mean(axis=0), abs=0.3)
    assert (queries**2).mean(axis=0).min() > 0.7


def test_no_query_counts_more_than_ten_times_the_mean_and_that_is_reached():
    queries = np.concatenate([sights(400), sights(2, (9, 9, 9))])
    weights = importance_weights(queries, sights(300, (9, 9, 9), seed=1))
    assert weights[-2:] == pytest.approx([10 / 402] * 2)
    assert weights.sum() == pytest.approx(1)


def test_what_is_cut_goes_to_the_others_until_none_has_more():
    shares = _capped(np.array([1000.0, 90.0, *[1.0] * 48]))
    assert shares[:2] == pytest.approx([0.2, 0.2])
    assert shares[2:] == pytest.approx([0.6 / 48] * 48)


def test_a_small_log_moves_weights_about_as_far_as_a_large_one():
    queries, wanted = sights(400), sights(40, (1.0, 0.0, 0.0), seed=1)
    moved = [importance_weights(queries, np.tile(wanted, (times, 1))) @ queries[:, 0] for times in (1, 50)]
    assert moved[0] == pytest.approx(moved[1], rel=0.1)


def test_weights_do_not_depend_on_the_order_of_either():
    queries, wanted = sights(50), sights(30, (1, 0, 0), seed=1)
    order = np.random.default_rng(2).permutation(50)
    again = importance_weights(queries[order], wanted[::-1])
    assert again == pytest.approx(importance_weights(queries, wanted)[order], abs=1e-9)


def test_the_effective_number_is_the_number_of_equals():
    assert effective(np.full(7, 1 / 7)) == pytest.approx(7)
    assert effective(np.array([1.0, 0.0, 0.0])) == 1
    assert effective(np.empty(0)) == 0


def test_what_fewer_than_ten_look_like_is_luck():
    some, others = np.linspace([0.0, 0.0], [1.0, 1.0], 40), np.linspace([0.5, 0.5], [1.5, 1.5], 40)
    for queries, wanted in ((some[:9], others), (some, others[:9])):
        assert importance_weights(queries, wanted) == pytest.approx(np.full(len(queries), 1 / len(queries)))
    assert importance_weights(some, others[:10]).max() > 1.1 / len(some)


def test_weights_are_the_odds_of_scikit_learn_s_regression():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    queries, target = rng.normal(size=(60, 3)), rng.normal(0.4, 0.8, size=(25, 3))
    both, is_wanted = np.concatenate([target, queries]), np.arange(85) < 25
    scaled = (both - both.mean(axis=0)) / both.std(axis=0)
    inputs, shares = np.hstack([scaled, scaled**2]), np.where(is_wanted, 85 / 2 / 25, 85 / 2 / 60)
    regression = LogisticRegression(C=1 / 5, tol=1e-10, max_iter=1000).fit(inputs, is_wanted, sample_weight=shares)
    odds = np.exp(regression.decision_function(inputs[25:]))
    assert importance_weights(queries, target) == pytest.approx(odds / odds.sum(), rel=1e-4)
