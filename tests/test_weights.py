"""Weights: the best member is found, groups that disagree are believed less, and nDCG is the one that is reported."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.base.errors import DataError
from acclimate.measure.measures import per_query
from acclimate.records import Qrel, Query, ScoredDoc
from acclimate.search.candidates import Candidates, fuse
from acclimate.search.weights import Relevance, choose_weights, mean_ndcg, ndcg_of_weights

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
    return found, Relevance.equal([{3: 1}] * n_queries)


def test_the_planted_best_member_gets_the_weight():
    found, answers = planted()
    chosen = choose_weights(found, answers, NAMES)
    assert chosen.weights["good"] >= 0.5
    assert chosen.ndcg == pytest.approx(1.0, abs=0.01)
    assert sum(chosen.weights.values()) == pytest.approx(1, abs=1e-3)
    assert mean_ndcg(found, answers, "good") == 1.0
    assert mean_ndcg(found, answers, "noise") < 0.5


def grouped(answers, *groups):
    return answers._replace(groups=[groups[number % len(groups)] for number in range(len(answers.grades))])


def test_groups_that_agree_change_little_and_weights_are_equal_where_they_cannot_agree():
    found, answers = planted(400)
    together = choose_weights(found, answers, NAMES)
    apart = choose_weights(found, grouped(answers, "a", "b"), NAMES)
    assert apart.disagreement < 0.15
    assert apart.weights == pytest.approx(together.weights, abs=0.12)

    swapped = [
        one._replace(scores={**one.scores, "good": one.scores["noise"], "noise": one.scores["good"]}) for one in found
    ]
    mixed = [pair[number % 2] for number, pair in enumerate(zip(found, swapped, strict=True))]
    quarrel = choose_weights(mixed, grouped(answers, "a", "b"), ["good", "noise"])
    assert quarrel.disagreement > 0.5
    assert quarrel.weights == pytest.approx({"good": 0.5, "noise": 0.5}, abs=0.1)
    assert choose_weights(mixed, grouped(answers, "a", "b"), ["good", "noise"], votes=False).disagreement == 0

    third = choose_weights(mixed, grouped(answers, "a", "b"), NAMES)
    assert third.weights["other"] > third.disagreement / 3 - 0.001  # nobody's choice, and yet not left out


def test_a_group_of_few_queries_has_no_vote():
    found, answers = planted()
    for few, votes in ((9, False), (10, True)):
        apart = answers._replace(groups=["few"] * few + ["many"] * (60 - few))
        swapped = [one._replace(scores={**one.scores, "good": one.scores["noise"], "noise": one.scores["good"]})
                   for one in found[:few]]  # fmt: skip
        chosen = choose_weights([*swapped, *found[few:]], apart, NAMES)
        assert (chosen.disagreement > 0.3) is votes


def test_a_query_that_counts_nothing_changes_nothing():
    found, answers = planted()
    swapped = [
        one._replace(scores={**one.scores, "good": one.scores["noise"], "noise": one.scores["good"]}) for one in found
    ]
    shares = np.array([1.0] * len(found) + [0.0] * len(found)) / len(found)
    both = Relevance([*answers.grades, *answers.grades], shares, [""] * (2 * len(found)))
    assert choose_weights([*found, *swapped], both, NAMES) == choose_weights(found, answers, NAMES)


def drawn(n_queries=45, seed=0):
    """Queries of unequal weight in three groups: two members know something, each more in its group; one misleads."""
    rng = np.random.default_rng(seed)
    groups = [NAMES[number % 3] for number in range(n_queries)]
    knows = {"good": 0.2, "noise": 0.2, "other": -0.8}
    found = []
    for number, group in enumerate(groups):
        scores = {name: rng.random(20) for name in NAMES}
        for name in NAMES:
            scores[name][3] += knows[name] + 0.3 * (name == group)
        found.append(candidates(number, scores))
    weights = rng.random(n_queries) + 0.1
    return found, Relevance([{3: 1}] * n_queries, weights / weights.sum(), groups)


@pytest.mark.parametrize("votes", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_weights_are_the_mean_of_the_votes_and_a_vote_that_of_all_that_are_as_good_as_the_best(seed, votes):
    found, answers = drawn(seed=seed)
    tenths = [parts for parts in product(range(11), repeat=3) if sum(parts) == 10]
    grid = np.array(tenths, np.float32) / 10
    values = ndcg_of_weights(found, answers, NAMES, grid)

    def error(of, shares):
        return np.sqrt((shares**2 * (of - shares @ of) ** 2).sum())

    ballots = []
    for group in sorted(NAMES) if votes else [""]:
        places = [at for at, of in enumerate(answers.groups) if not votes or of == group]
        shares = answers.weights[places] / answers.weights[places].sum()
        means = shares @ values[places]
        least = means.max() - error(values[places, means.argmax()], shares) / 3
        ballots.append(grid[means >= least].mean(axis=0))
    apart = [np.abs(one - other).sum() / 2 for at, one in enumerate(ballots) for other in ballots[:at]]
    quarrel = float(np.mean(apart)) if apart else 0.0
    expected = (1 - quarrel) * np.mean(ballots, axis=0) + quarrel / 3

    chosen = choose_weights(found, answers, NAMES, votes=votes)
    assert list(chosen.weights.values()) == pytest.approx(expected, abs=1e-4)
    assert chosen.disagreement == pytest.approx(quarrel, abs=1e-4)
    own = ndcg_of_weights(found, answers, NAMES, np.array([list(chosen.weights.values())], np.float32))[:, 0]
    assert chosen.tolerance == pytest.approx(error(own, answers.weights) / 3, abs=1e-5)


def test_more_members_than_are_tried_in_every_mixture_are_added_one_by_one():
    found, answers = drawn(15)
    names = [*NAMES, "fourth", "fifth"]
    noise = np.random.default_rng(1)
    found = [
        one._replace(scores=one.scores | {name: noise.random(20, np.float32) for name in names[3:]}) for one in found
    ]
    counts, tried = np.zeros(5), []
    for step in range(1, 21):  # Caruana et al.
        grid = ((counts + np.eye(5)) / step).astype(np.float32)
        means = answers.weights @ ndcg_of_weights(found, answers, names, grid)
        tried += [*zip(means, grid, strict=True)]
        counts[means.argmax()] += 1
    best, weights = max(tried, key=lambda one: one[0])
    of_best = ndcg_of_weights(found, answers, names, weights[None])[:, 0]
    error = np.sqrt((answers.weights**2 * (of_best - best) ** 2).sum())
    expected = np.mean([one for mean, one in tried if mean >= best - error / 3], axis=0)
    chosen = choose_weights(found, answers, names, votes=False)
    assert list(chosen.weights.values()) == pytest.approx(expected, abs=1e-4)


def test_the_ndcg_is_that_of_the_weights_chosen():
    found, answers = planted(seed=1)
    for names in (NAMES, NAMES[1:]):
        chosen = choose_weights(found, answers, names)
        grid = np.array([list(chosen.weights.values())], np.float32)
        own = [ndcg_of_weights([one], Relevance.equal([grades]), names, grid).item()
               for one, grades in zip(found, answers.grades, strict=True)]  # fmt: skip
        assert chosen.ndcg == pytest.approx(float(np.mean(own)), abs=1e-9)


def test_the_order_of_the_queries_does_not_matter():
    found, answers = planted()
    assert choose_weights(found[::-1], answers, NAMES).weights == choose_weights(found, answers, NAMES).weights


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=15), min_size=1, max_size=4).filter(
        lambda queries: any(any(grades) for grades in queries)
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
    grid = np.array([list(weights.values())], np.float32)
    got = ndcg_of_weights(found, Relevance.equal(answers), list(weights), grid)[:, 0]
    assert got == pytest.approx(expected, abs=1e-6)


def test_a_higher_grade_is_worth_more_at_the_top():
    one = candidates(0, {"up": [2.0, 1.0, 0.0], "down": [1.0, 2.0, 0.0]})
    values = ndcg_of_weights([one], Relevance.equal([{0: 3, 1: 1}]), ["up", "down"], np.eye(2, dtype=np.float32))[0]
    assert values[0] == pytest.approx(1.0)
    assert values[1] == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))


def test_an_answer_that_was_not_found_counts_in_the_ideal_alone():
    one = candidates(0, {"a": [2.0, 1.0]}, rows=[4, 7])
    value = ndcg_of_weights([one], Relevance.equal([{7: 1, 99: 1}]), ["a"], np.ones((1, 1), np.float32)).item()
    assert value == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))
    assert ndcg_of_weights([one], Relevance.equal([{99: 1}]), ["a"], np.ones((1, 1), np.float32)).item() == 0.0


def test_ties_rank_by_the_ids_of_their_documents_as_when_they_are_measured():
    one = candidates(0, {"a": [1.0, 1.0, 1.0, 0.0]})
    for places, rank in (([0, 1, 2, 3], 1), ([5, 1, 2, 0], 3), ([2, 1, 3, 0], 2)):
        placed = one._replace(document_ranks=np.array(places))
        value = ndcg_of_weights([placed], Relevance.equal([{0: 1}]), ["a"], np.ones((1, 1), np.float32)).item()
        assert value == pytest.approx(1 / np.log2(1 + rank))


def test_rank_ten_counts_and_rank_eleven_does_not():
    one = candidates(0, {"a": list(range(20, 0, -1))})
    values = [
        ndcg_of_weights([one], Relevance.equal([{row: 1}]), ["a"], np.ones((1, 1), np.float32)).item()
        for row in (9, 10)
    ]
    assert values == [pytest.approx(1 / np.log2(11)), 0.0]


def test_a_query_without_candidates_or_answers_counts_nothing():
    empty, alone = candidates(0, {"a": []}), (["a"], np.ones((1, 1), np.float32))
    assert ndcg_of_weights([empty], Relevance.equal([{3: 1}]), *alone).item() == 0.0
    assert ndcg_of_weights([candidates(0, {"a": [1.0, 0.0]})], Relevance.equal([{}]), *alone).item() == 0.0


def test_without_queries_there_is_nothing_to_choose_on():
    with pytest.raises(DataError, match="no held-out queries"):
        choose_weights([], Relevance.equal([]), NAMES)
