"""Agreement is that of textbooks, and people's few grades correct a judge's many without being misled by it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from acclimate.measure import graded as by_grades
from acclimate.measure.agreement import agreement
from acclimate.measure.measures import per_query
from acclimate.measure.prediction_powered import powered_mean, students_t
from acclimate.records import Qrel, ScoredDoc


def graded(grades):
    """Grades of ten pairs a query."""
    return {(f"q{place // 10}", f"d{place}"): grade for place, grade in enumerate(grades)}


grades = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@settings(max_examples=10)
@example([(0, 2), (3, 2)])
@given(grades)
def test_kappa_is_scikit_learn_s(pairs):
    from sklearn.metrics import cohen_kappa_score

    theirs, its = zip(*pairs, strict=True)
    found = agreement(graded(theirs), graded(its))
    assert found is not None and found.pairs == len(pairs)
    assert np.trace(found.confusion) == sum(person == llm for person, llm in pairs)
    if found.is_binary:
        its = tuple(int(grade >= 2) for grade in its)
    for kappa, weights in ((found.plain, None), (found.weighted, "linear")):
        if len({*theirs}) == 1 or len({*its}) == 1:
            assert kappa == (None, None)
        else:
            labels = [0, 1] if found.is_binary else [0, 1, 2, 3]
            assert kappa.value == pytest.approx(cohen_kappa_score(theirs, its, labels=labels, weights=weights))
            assert kappa.ci95 is not None and -1 <= kappa.ci95[0] <= kappa.ci95[1] <= 1


def test_only_pairs_that_both_graded_count_and_swapping_them_changes_nothing():
    people, llm = {("q", "a"): 3, ("q", "b"): 0, ("q", "c"): 2}, {("q", "b"): 0, ("q", "c"): 3, ("r", "c"): 1}
    found, swapped = agreement(people, llm), agreement(llm, people)
    assert found is not None and swapped is not None
    assert (found.pairs, found.queries, found.same) == (2, 1, 0.5) and found.plain == swapped.plain
    assert found.confusion == np.transpose(swapped.confusion).tolist()
    assert agreement(people, {("r", "a"): 1}) is None


def test_an_interval_is_drawn_by_seed_and_over_queries_not_pairs():
    people, llm = np.random.default_rng(0).integers(4, size=(2, 200)).tolist()
    found = agreement(graded(people), graded(llm))
    assert found is not None and found == agreement(graded(people), graded(llm))
    assert found != agreement(graded(people), graded(llm), seed=1)
    people_of, llm_of = ({(f"query {q}", d): grade for (q, d), grade in graded(of).items()} for of in (people, llm))
    assert agreement(people_of, llm_of) == found  # by the order of the queries' ids
    twice = agreement(
        *(
            {(q, d + copy): grade for (q, d), grade in graded(grades).items() for copy in "ab"}
            for grades in (people, llm)
        )
    )
    assert twice is not None and (twice.plain.ci95, twice.weighted.ci95) == (found.plain.ci95, found.weighted.ci95)


def test_people_who_said_yes_or_no_are_compared_with_what_the_llm_calls_an_answer():
    found = agreement(graded([1, 1, 0, 0]), graded([3, 2, 1, 0]))
    assert found is not None and found.is_binary
    assert (found.same, found.plain.value) == (1.0, 1.0)
    assert found.confusion == [[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_grades_beyond_the_scale_stand_at_its_ends():
    found = agreement(graded([-2, 7]), graded([0, 3]))
    assert found is not None and found.same == 1.0


# Prediction-powered


def simulated(n, n_judged, likeness, *, bias=0.2, times=600, seed=0):
    """Values of people in [0, 1], and of a judge that is like them in part and too generous: the truth is 0.5."""
    random = np.random.default_rng(seed)
    for _ in range(times):
        people, noise = random.beta(0.8, 0.8, (2, n + n_judged))
        judge = np.clip(likeness * people + (1 - likeness) * noise + bias, 0, 1)
        yield powered_mean(people[:n], judge[:n], judge[n:], within=(0, 1))


@pytest.mark.parametrize(("n", "likeness"), [(12, 0.0), (12, 0.9), (20, 0.5), (50, 0.0), (50, 0.9)])
def test_it_is_unbiased_and_covers_the_truth_as_often_as_it_says_whatever_the_judge(n, likeness):
    found = list(simulated(n, 150, likeness))
    assert np.mean([estimate.mean for estimate in found]) == pytest.approx(0.5, abs=0.015)
    assert np.mean([estimate.ci95[0] <= 0.5 <= estimate.ci95[1] for estimate in found]) > 0.92
    widths = np.mean(
        [
            (estimate.ci95[1] - estimate.ci95[0]) / (estimate.ci95_by_people[1] - estimate.ci95_by_people[0])
            for estimate in found
        ]
    )
    reliance = np.mean([estimate.reliance for estimate in found])
    if likeness == 0.9:
        assert widths < 0.6 and reliance > 0.7
    elif likeness == 0.0:
        assert 0.9 < widths <= 1.02 and reliance < 0.2


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.integers(0, 20))
def test_a_judge_that_always_says_the_same_changes_nothing(people, n_judged):
    found = powered_mean(people, [0.7] * len(people), [0.7] * n_judged)
    assert (found.mean, found.ci95, found.reliance) == (found.by_people, found.ci95_by_people, 0.0)


def test_a_judge_that_is_always_right_gives_the_mean_of_all():
    values = np.random.default_rng(2).random(500)
    found = powered_mean(values[:20], values[:20], values[20:])
    assert found.mean == pytest.approx(values.mean(), abs=0.01)
    spreads = values[:20].var(ddof=1), values.var(ddof=1)
    reliance = spreads[0] / spreads[1] / (1 + 20 / 480)
    assert found.reliance == pytest.approx(reliance) and reliance < 1
    margin = students_t(0.975, 19) * ((1 - reliance) ** 2 * spreads[0] / 20 + reliance**2 * spreads[1] / 480) ** 0.5
    assert found.ci95 == pytest.approx((found.mean - margin, found.mean + margin))


def test_a_judge_that_says_the_opposite_is_not_relied_on_and_no_interval_leaves_its_range():
    people = np.array([1.0] * 18 + [0.5, 0.8])
    found = powered_mean(people, 1 - people, np.linspace(0, 1, 50), within=(0, 1))
    assert (found.reliance, found.mean, found.ci95) == (0, found.by_people, found.ci95_by_people)
    assert found.ci95[0] < people.mean() < found.ci95[1] == 1


@pytest.mark.parametrize("copies", [2, 5])
def test_queries_written_for_one_document_say_together_what_one_of_them_does_if_they_are_alike(copies):
    random = np.random.default_rng(1)
    people, noise = random.random((2, 80))
    judge = people / 2 + noise / 2
    sides = people[:20], judge[:20], judge[20:]
    apart = powered_mean(*sides)
    alike = [np.repeat(side, copies) for side in sides]
    together = powered_mean(*alike, sources=np.repeat(np.arange(80).astype(str), copies).tolist())
    width, narrow = (found.ci95[1] - found.ci95[0] for found in (apart, powered_mean(*alike)))
    assert narrow < 0.8 * width
    assert (together.mean, together.by_people) == pytest.approx((apart.mean, apart.by_people), abs=0.03 * width)
    assert together.ci95 == pytest.approx(apart.ci95, abs=0.05 * width)
    assert together.ci95_by_people == pytest.approx(apart.ci95_by_people, abs=0.05 * width)
    assert powered_mean(*sides, sources=[str(number) for number in range(80)]) == apart


@pytest.mark.parametrize("verdict", ["WIN", "NO DIFFERENCE", "REGRESSION"])
@pytest.mark.parametrize(
    ("interval", "by_people"),
    [
        ((0.01, 0.2), "WIN"),
        ((0.0, 0.2), "NO DIFFERENCE"),
        ((-0.1, 0.0), "NO DIFFERENCE"),
        ((-0.2, -0.01), "REGRESSION"),
    ],
)
def test_people_s_grades_confirm_a_verdict_or_take_it_back_and_give_no_other(verdict, interval, by_people):
    powered = [{"system": "old"}, {"system": "new", "difference": {"ci95": interval}}]
    confirmed = verdict if verdict == by_people else "NO DIFFERENCE"
    assert by_grades.confirm(verdict, "new", powered) == {"verdict": confirmed, "judge_verdict": verdict}
    assert by_grades.confirm(verdict, "old", powered) == by_grades.confirm(verdict, "new", []) == {}


@pytest.mark.parametrize(("n_people", "n_rows"), [(9, 0), (10, 2), (20, 2)])
def test_people_s_grades_correct_an_llm_s_where_there_are_ten_and_replace_them_where_there_are_all(n_people, n_rows):
    query_ids = [f"q{number:02}" for number in range(20)]
    runs = {name: [ScoredDoc(query_id, name, 1.0) for query_id in query_ids] for name in ("old", "new")}
    by_judge = {name: {query_id: at * step for at, query_id in enumerate(query_ids)}
                for name, step in (("old", 0.01), ("new", 0.02))}  # fmt: skip
    people = [Qrel(query_id, "old" if at % 3 else "new", at % 2) for at, query_id in enumerate(query_ids[:n_people])]
    rows = by_grades.powered(runs, by_judge, people, "old")
    assert len(rows) == n_rows
    of_one_document = dict.fromkeys(query_ids[: n_people - 8], "d")  # then those of ten queries are fewer than ten
    assert by_grades.powered(runs, by_judge, people, "old", of_one_document) == []
    if rows:
        theirs = {name: per_query(run, people, ["nDCG@10"])["nDCG@10"] for name, run in runs.items()}
        of_people, of_judge = (np.array([[*of[name].values()] for name in runs]) for of in (theirs, by_judge))
        for name, row, person, judge in zip(runs, rows, of_people, of_judge, strict=True):
            expected = powered_mean(person, judge[:n_people], judge[n_people:], within=(0.0, 1.0)).for_report()
            assert {key: row[key] for key in expected} == expected, name
        apart = [np.subtract(*side[::-1]) for side in (of_people, of_judge)]
        expected = powered_mean(apart[0], apart[1][:n_people], apart[1][n_people:]).for_report()
        assert rows[1]["difference"] == {"baseline": "old", **expected}


@pytest.mark.parametrize(("degrees", "value"), [(4, 2.7764), (9, 2.2622), (19, 2.0930), (100, 1.9840)])
def test_student_s_t_is_that_of_tables(degrees, value):
    assert students_t(0.975, degrees) == pytest.approx(value, abs=0.001)


@given(st.lists(st.dictionaries(st.sampled_from(["p", "q"]), st.permutations("abcd")), max_size=3), st.integers(1, 5))
def test_what_is_graded_is_among_the_first_of_any_system(rankings, depth):
    runs = [[ScoredDoc(q, doc, -rank) for q, docs in run.items() for rank, doc in enumerate(docs)] for run in rankings]
    expected = {q: sorted({doc for run in rankings for doc in run.get(q, [])[:depth]}) for run in rankings for q in run}
    assert by_grades.pooled(runs, depth) == expected
