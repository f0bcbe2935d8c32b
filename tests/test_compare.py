"""The paired test and the interval have the properties that make a verdict believable."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from acclimate.base.errors import DataError
from acclimate.measure.compare import Comparison, compare, interval, interval_of, verdict

Values = dict[str, float]
pairs = st.lists(st.tuples(st.floats(0, 1, width=16), st.floats(0, 1, width=16)), min_size=1, max_size=30)


def compared(ours: Values, theirs: Values, **settings) -> Comparison:
    return compare(ours, theirs, system="ours", baseline="theirs", measure="nDCG@10", **{"samples": 500, **settings})


def systems(values: list[tuple[float, float]]) -> tuple[Values, Values]:
    ours, theirs = zip(*values, strict=True)
    return ({str(i): x for i, x in enumerate(ours)}, {str(i): x for i, x in enumerate(theirs)})


def noisy(count: int, gain: float, seed: int = 0) -> tuple[Values, Values]:
    random = np.random.default_rng(seed)
    return systems([(float(x + gain + random.normal(0, 0.1)), float(x)) for x in random.random(count)])


@given(pairs)
@settings(deadline=None, max_examples=50)
def test_swapping_the_systems_only_changes_the_sign(values: list[tuple[float, float]]):
    ours, theirs = systems(values)
    there, back = compared(ours, theirs), compared(theirs, ours)

    assert back.p == there.p
    assert back.delta == -there.delta
    assert back.ci95 == pytest.approx((-there.ci95[1], -there.ci95[0]), abs=1e-12)
    assert (back.wins, back.losses, back.ties) == (there.losses, there.wins, there.ties)
    assert there.wins + there.losses + there.ties == there.queries == len(values)
    assert 0 < there.p <= 1


@given(pairs, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_the_order_of_the_queries_does_not_matter(values, chance):
    ours, theirs = systems(values)
    shuffled = dict(chance.sample(sorted(ours.items()), len(ours)))
    assert compared(shuffled, theirs) == compared(ours, theirs)


@given(pairs, st.integers(1, 4))
@settings(deadline=None, max_examples=25)
def test_queries_of_one_source_count_as_one(values, repeats):
    """Repeating each of them tells nothing new."""
    ours, theirs = systems(values)
    again = [
        {f"{query_id} {n}": each[query_id] for query_id in each for n in range(repeats)} for each in (ours, theirs)
    ]
    sources = {query_id: query_id.split()[0] for query_id in again[0]}
    once, repeated = compared(ours, theirs), compared(*again, sources=sources)
    assert (repeated.p, repeated.wins) == (once.p, repeats * once.wins)
    assert (repeated.delta, *repeated.ci95) == pytest.approx((once.delta, *once.ci95), abs=1e-12)
    assert interval(again[0], samples=500, sources=sources) == pytest.approx(interval(ours, samples=500), abs=1e-12)
    assert compared(ours, theirs, sources={query_id: f"of {query_id}" for query_id in ours}) == once


def test_equal_systems_rarely_differ_significantly_on_few_documents_with_many_queries():
    random, significant = np.random.default_rng(0), [0, 0]
    for _ in range(60):
        values = [(float(mean + x), 0.0) for mean in random.normal(0, 0.1, 12) for x in random.normal(0, 0.2, 12)]
        ours, theirs = systems(values)
        for n, sources in enumerate(({}, {query_id: str(int(query_id) // 12) for query_id in ours})):
            significant[n] += compared(ours, theirs, sources=sources, samples=200).p < 0.05
    assert significant[0] > 12 and significant[1] < 7


@given(st.lists(st.integers(-8, 8).filter(bool), min_size=1, max_size=8))
@settings(deadline=None, max_examples=50)
def test_few_pairs_are_tested_exactly(steps: list[int]):
    """Twentieths are not exact in binary: equal sums must count as equal all the same."""
    ours, theirs = systems([(0.5 + step / 20, 0.5) for step in steps])
    sums = [abs(sum(map(int.__mul__, signs, steps))) for signs in product((-1, 1), repeat=len(steps))]
    expected = sum(one >= abs(sum(steps)) for one in sums) / len(sums)
    assert compared(ours, theirs).p == pytest.approx(expected)
    assert compared(ours, theirs, seed=1).p == compared(ours, theirs).p


def test_queries_without_a_difference_do_not_dilute_the_test():
    ours, theirs = systems([(0.9, 0.1)] * 10)
    same = {f"same{i}": 0.5 for i in range(500)}
    assert compared(ours | same, theirs | same).p == compared(ours, theirs).p == 2 / 2**10


def test_sampled_and_exact_tests_agree(monkeypatch: pytest.MonkeyPatch):
    ours, theirs = noisy(12, 0.05)
    exact = compared(ours, theirs).p
    monkeypatch.setattr("acclimate.measure.compare.EXACT_PAIRS", 0)
    assert compared(ours, theirs, samples=20_000).p == pytest.approx(exact, abs=0.015)  # 4 standard errors


@pytest.mark.parametrize("count", [2, 5, 300])
def test_identical_systems_are_no_different(count: int):
    ours, _ = noisy(count, 0.0)
    comparison = compared(ours, dict(ours))
    assert (comparison.delta, comparison.p, comparison.ties) == (0, 1, count)
    assert comparison.ci95 == pytest.approx((0.025 ** (1 / count) - 1, 1 - 0.025 ** (1 / count)))
    assert verdict(comparison) == "NO DIFFERENCE"


def test_rounding_is_a_tie():
    ours, _ = noisy(30, 0.0)
    comparison = compared({query_id: value + 1e-12 for query_id, value in ours.items()}, ours)
    assert (comparison.ties, comparison.p) == (30, 1)


def test_a_consistent_improvement_wins_and_its_reverse_is_a_regression():
    ours, theirs = noisy(200, 0.1)
    comparison = compared(ours, theirs)
    assert verdict(comparison) == "WIN"
    assert comparison.p == 1 / 501  # never 0: the assignment found is one of those drawn
    assert comparison.ci95[0] < 0.1 < comparison.ci95[1]
    assert verdict(compared(theirs, ours)) == "REGRESSION"


@pytest.mark.parametrize(
    ("p", "delta", "expected"),
    [
        (0.049, 0.025, "WIN"),
        (0.049, -0.025, "REGRESSION"),
        (0.049, 0.024, "NO DIFFERENCE"),
        (0.049, -0.024, "NO DIFFERENCE"),
        (0.05, 0.5, "NO DIFFERENCE"),
    ],
)
def test_a_verdict_takes_a_p_below_and_a_difference_of_at_least_what_counts(p, delta, expected):
    comparison = compared({"q": 1.0}, {"q": 0.0})._replace(p=p, delta=delta)
    assert verdict(comparison, min_difference=0.025) == expected


def test_noise_wins_about_as_often_as_alpha_says():
    wins = sum(compared(*noisy(40, 0.0, seed=seed)).p < 0.05 for seed in range(200))
    assert 2 <= wins <= 22  # 10 expected; beyond 4 standard deviations on the high side


@pytest.mark.parametrize(("n_baselines", "most_wins", "most_regressions"), [(1, 16, 16), (4, 4, 34)])
def test_verdicts_on_equal_systems_err_as_rarely_as_is_said(n_baselines, most_wins, most_regressions):
    """Against the best of what there is: in 300 cases 7 of either kind are expected, or 1 and 23 with four baselines;
    what is allowed is over two standard deviations more."""
    random = np.random.default_rng(n_baselines)
    verdicts = []
    for _ in range(300):
        difficulty = random.random(50)
        ours, *others = (difficulty + random.normal(0, 0.15, 50) for _ in range(1 + n_baselines))
        best = max(others, key=lambda values: values.mean())
        verdicts.append(verdict(compared(*systems([*zip(ours.tolist(), best.tolist(), strict=True)]))))
    assert verdicts.count("WIN") <= most_wins
    assert verdicts.count("REGRESSION") <= most_regressions


@given(pairs, st.integers(0, 5))
@settings(deadline=None, max_examples=25)
def test_the_same_seed_gives_the_same_comparison(values, seed: int):
    ours, theirs = systems(values)
    assert compared(ours, theirs, seed=seed) == compared(ours, theirs, seed=seed)


def test_another_seed_draws_again():
    ours, theirs = noisy(50, 0.01)
    assert compared(ours, theirs, seed=0).ci95 != compared(ours, theirs, seed=1).ci95


def test_batches_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch):
    ours, theirs = noisy(64, 0.02)
    whole = compared(ours, theirs)
    monkeypatch.setattr("acclimate.measure.compare._CELLS", 640)
    monkeypatch.setattr("acclimate.measure.compare._KEPT_CELLS", 0)
    assert compared(ours, theirs).for_report() == whole.for_report()


@pytest.mark.parametrize("kept_cells", [0, 2**26])
@pytest.mark.parametrize("count", [2, 3, 300])
def test_an_interval_is_that_of_the_means_of_resampled_queries(count, kept_cells, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("acclimate.measure.compare._KEPT_CELLS", kept_cells)
    values = np.random.default_rng(count).random(count)
    drawn = np.random.default_rng([7, 1]).integers(count, size=(500, count))
    expected = interval_of(values[drawn].mean(axis=1), count, (0.0, 1.0))
    by_query = {f"{number:03}": value for number, value in enumerate(values)}
    for _ in range(2):
        assert interval(by_query, seed=7, samples=500) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("count", "students"), [(8, 2.365), (10, 2.262), (20, 2.093), (200, 1.972)])
def test_an_interval_of_few_queries_is_as_wide_as_students(count: int, students: float):
    """Else it would cover the mean less often than in 95 of 100 cases: of ten queries, in 90."""
    values = np.random.default_rng(count).random(count)
    low, high = interval({str(number): value for number, value in enumerate(values)})
    assert (high - low) / (2 * students * values.std(ddof=1) / count**0.5) == pytest.approx(1, abs=0.06)


def test_one_query_tells_nothing_of_others():
    """An interval of width 0 would be the most certain of all. So it is with many queries for one document."""
    assert interval({"q": 0.25}) == interval({"p": 0.5, "q": 0.25}, sources={"p": "d", "q": "d"}) == (0.0, 1.0)
    assert compared({"q": 0.75}, {"q": 0.25}).ci95 == (-1.0, 1.0)


@pytest.mark.parametrize("share", [0.98, 0.9])
def test_queries_that_are_all_alike_say_of_others_only_that_they_are_rare(share):
    """A width of 0 would cover the mean of Success@5 in one case of five, where two of a hundred queries fail."""
    random, covered = np.random.default_rng(0), 0
    for _ in range(40):
        low, high = interval({str(n): float(x) for n, x in enumerate(random.random(10) < share)}, samples=200)
        covered += low <= share <= high
    assert covered >= 38


@given(st.lists(st.floats(0, 1, width=16), min_size=2, max_size=30))
@settings(deadline=None, max_examples=25)
def test_an_interval_is_around_the_mean(values: list[float]):
    assume(len(set(values)) > 1)
    low, high = interval({str(i): value for i, value in enumerate(values)}, samples=500)
    assert min(values) <= low <= high <= max(values)
    assert low - 1e-9 <= np.mean(values) + np.std(values) and high + 1e-9 >= np.mean(values) - np.std(values)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ({"a": 1.0}, {"a": 1.0, "b": 0.0}, "ours has no value for 1 query that the other has: b"),
        ({"a": 1.0, "d": 1.0}, {"a": 1.0}, "theirs has no value for 1 query that the other has: d"),
        (dict.fromkeys("edcba", 1.0), {"a": 1.0}, r"theirs has no value for 4 queries .* has: b, c, d \.\.\."),
        ({}, {}, "no queries"),
        ({"c": float("nan"), "b": float("inf"), "a": 1.0}, dict.fromkeys("abc", 1.0), "'b': found inf"),
    ],
)
def test_what_cannot_be_compared_is_an_error(ours: Values, theirs: Values, message: str):
    with pytest.raises(DataError, match=message):
        compared(ours, theirs)
