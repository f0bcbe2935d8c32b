"""Any number of teachers: whoever helps is weighed, on one scale, together or one after the other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from labelling import (
    ALL,
    DEV,
    DOC_IDS,
    FINDER,
    HELD_OUT,
    IDS,
    LLM,
    MEMBERS,
    NOISE,
    PERFECT,
    TRAIN,
    asked,
    draw,
    find,
    find_named,
    named,
    teacher_of,
)

from acclimate.base.errors import SettingError
from acclimate.base.testing import FakeScorer
from acclimate.corpus.judged_queries import SYNTHETIC, JudgedQueries
from acclimate.learn.teachers.selection import fuse_retrievers, parse_weights, teacher_warnings
from acclimate.learn.teachers.turns import EMPTY, Rules, ScoredLists, turns_of
from acclimate.records import Qrel, Query
from acclimate.search.candidates import Candidates, best
from acclimate.search.scales import as_it_is, scale
from acclimate.search.scorers.cached import CachedScorer
from acclimate.search.value_cache import ValueCache
from acclimate.search.weights import relevance_of
from acclimate.stages.label import RERANKER, label


@pytest.fixture(autouse=True)
def _nobody_asked():
    asked.clear()


def test_scorers_are_added_as_long_as_they_help():
    scorers = {RERANKER: NOISE, LLM: teacher_of(0.9)}
    made = label(TRAIN, DEV, HELD_OUT, FINDER, scorers, teachers=ALL, n_ways=8)
    assert {LLM} <= set(made.weights) <= {"bm25", "dense", LLM}
    assert "does not improve" in named(made)[RERANKER]["reason"]
    assert asked == {query.text for query in DEV}
    assert made.train == label(TRAIN, DEV, HELD_OUT, FINDER, {LLM: scorers[LLM]}, teachers=ALL, n_ways=8).train


def test_two_that_know_different_things_both_teach():
    def of_parity(parity):
        return FakeScorer(
            lambda text, doc_id: (
                5.0
                if int(text.split()[-1]) == int(doc_id[1:]) and int(doc_id[1:]) % 2 == parity
                else float(draw(text, doc_id, parity).random())
            )
        )

    scorers = {f"{RERANKER}-{parity}": of_parity(parity) for parity in (0, 1)}
    made = label(TRAIN, DEV, HELD_OUT, FINDER, scorers, n_ways=8)
    assert set(scorers) <= set(made.weights)  # `reranker` names them all
    assert sum(made.weights.values()) == pytest.approx(1, abs=1e-3)
    of = named(made)
    assert of["teacher"]["nDCG@10"] > max(of[name]["nDCG@10"] for name in scorers)


def test_who_is_not_named_is_measured_and_does_not_teach():
    made = label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: PERFECT}, teachers=("dense",), n_ways=8)
    assert {name for name, weight in made.weights.items() if weight} == {"dense"}
    assert named(made)[RERANKER]["nDCG@10"] == 1.0
    assert named(made)[RERANKER]["reason"] == "not among label.teachers"


def test_a_scorer_alone_teaches_without_retrievers():
    made = label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: PERFECT}, teachers=(RERANKER,), n_ways=8)
    assert made.weights == {RERANKER: 1.0}
    assert all(example.scores[0] == 1.0 and set(example.scores[1:]) == {0.0} for example in made.train)


def test_more_than_four_teachers_are_weighed_too():
    scorers = {f"{RERANKER}-{n}": teacher_of(0.5 + n / 100) for n in range(6)}
    made = label(TRAIN, DEV, HELD_OUT, FINDER, scorers, n_ways=8, min_gain=-1.0)
    assert set(made.weights) == {*MEMBERS, *scorers}
    assert sum(made.weights.values()) == pytest.approx(1, abs=1e-2)
    of = named(made)
    assert of["teacher"]["nDCG@10"] >= max(of[name]["nDCG@10"] for name in scorers)


def test_weights_as_one_likes():
    scorers = {RERANKER: PERFECT}
    equal = label(TRAIN, DEV, HELD_OUT, FINDER, scorers, weights="equal", n_ways=8)
    assert equal.weights == pytest.approx({"bm25": 1 / 3, "dense": 1 / 3, RERANKER: 1 / 3}, abs=1e-4)
    given = label(TRAIN, DEV, HELD_OUT, FINDER, scorers, weights="dense=3, reranker=1", n_ways=8)
    assert given.weights == {"dense": 0.75, RERANKER: 0.25}
    assert not named(given)["bm25"]["used"]
    two = {f"{RERANKER}-{n}": PERFECT for n in range(2)}
    split = label(TRAIN, DEV, HELD_OUT, FINDER, two, weights="dense=1,reranker=3", n_ways=8)
    assert split.weights == {"dense": 0.25, **dict.fromkeys(two, 0.375)}


def test_numbers_that_are_no_weights():
    for wrong in ("best", "bm25", "bm25=x", "other=1", "bm25=0", "bm25=-1,dense=2", "bm25=nan", ""):
        with pytest.raises(SettingError, match=r"label\.weights"):
            parse_weights(wrong, ("bm25", "dense"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"normalize": "softmax"},
        {"mode": "max"},
        {"false_negatives": "keeep"},
        {"false_negative_share": 0.0},
        {"teachers": ()},
        {"teachers": ("dense", "dense")},
        {"weights": "reranker=1", "teachers": ("dense",)},
        {"teachers": (RERANKER,)},
        {"n_ways": 0},
        {"reranker_ways": 1},
    ],
)
def test_settings_that_cannot_be(wrong):
    with pytest.raises(SettingError):
        label(TRAIN, DEV, HELD_OUT, FINDER, {}, **wrong)


@pytest.mark.parametrize("kind", ["min-max", "rank", "z", "percentile"])
def test_a_teachers_own_scale_changes_nothing(kind):
    def made(scorer, finder=FINDER):
        return label(TRAIN, DEV, HELD_OUT, finder, {RERANKER: scorer}, normalize=kind, min_gain=-1.0, n_ways=8)

    def stretched(queries, also=()):
        for one in find(queries):
            yield one._replace(scores={**one.scores, "dense": one.scores["dense"] * 64 - 128})

    scorer = teacher_of(0.7)
    plain = made(scorer)
    other = made(FakeScorer(lambda *pair: 8 * scorer.rate(*pair) - 4), FINDER._replace(find=stretched))
    assert RERANKER in plain.weights
    assert other.weights == pytest.approx(plain.weights, abs=1e-4)
    for one, two in zip(other.train, plain.train, strict=True):
        assert dict(zip(one.doc_ids, one.scores, strict=True)) == pytest.approx(
            dict(zip(two.doc_ids, two.scores, strict=True)), abs=1e-3
        )
        assert 0 <= min(one.scores) <= max(one.scores) <= 1
        assert one.doc_ids[0] == two.doc_ids[0]


def test_percentiles_keep_what_a_whole_list_is_worth():
    def poor_or_rich(queries, also=()):
        for one in find(queries):
            rich = int(one.query.text.split()[-1]) % 2
            yield one._replace(scores={name: scores + 10 * rich for name, scores in one.scores.items()})

    made = label(TRAIN, DEV, HELD_OUT, FINDER._replace(find=poor_or_rich), {}, normalize="percentile", n_ways=8)
    best = {query.doc_id: max(example.scores) for query, example in zip(TRAIN, made.train, strict=True)}
    assert max(best[doc_id] for doc_id in DOC_IDS[:25:2]) < 0.3 < 0.7 < min(best[doc_id] for doc_id in DOC_IDS[1:25:2])
    assert set(made.scale["bounds"]) == set(MEMBERS)
    for row in made.rated:
        for name, (low, high) in made.scale["bounds"].items():
            on_scale = ((np.array(row["raw"][name]) - low) / (high - low)).clip(0, 1)
            assert row["normalized"][name] == pytest.approx(on_scale, abs=1e-5)


def test_weights_that_are_rounded_add_up_to_no_more_than_1():
    scores = np.array([1.0, 0.25], np.float32)
    candidates, weights = (
        Candidates(Query("q", "?"), np.arange(2), dict.fromkeys("abcdef", scores)),
        dict.fromkeys("abcdef", 0.1667),
    )
    lists, rules = ScoredLists([candidates], [1], IDS, as_it_is, {}), Rules("percentile", 0, 0, 0.0, "keep", 1.0)
    ((turn,), _, _) = turns_of([("all", weights)], lists, (), rules)
    assert turn.train[0].scores == (0.25005, 1.0)


def test_the_1st_percentile_of_all_lists_is_0_and_the_99th_is_1():
    rng = np.random.default_rng(0)
    lists = [
        Candidates(Query(str(n), str(n)), np.arange(20), {"x": (rng.normal(size=20) * 9 + n).astype(np.float32)})
        for n in range(50)
    ]
    everything = np.concatenate([candidates.scores["x"] for candidates in lists])
    scaled = np.concatenate([scale("percentile", lists, ["x"])("x", candidates.scores["x"]) for candidates in lists])
    low, high = np.sort(everything)[[10, -11]]  # the hundredth of a thousand from either end
    assert scaled.min() == 0 and scaled.max() == 1
    assert (scaled == 0).sum() == (scaled == 1).sum() == 10
    within = (everything > low) & (everything < high)
    assert scaled[within] == pytest.approx((everything[within] - low) / (high - low), abs=0.01)


def test_teachers_take_turns_in_the_order_of_their_names():
    scorers = {LLM: teacher_of(0.3), RERANKER: PERFECT}
    names = (RERANKER, "dense", LLM)
    made = label(TRAIN, DEV, HELD_OUT, FINDER, scorers, teachers=names, mode="sequential", n_ways=8)
    assert [turn.teacher for turn in made.turns] == list(names)
    for turn in made.turns:
        assert [example.query_id for example in turn.train] == [query.query_id for query in TRAIN]
        assert [example.query_id for example in turn.dev] == [query.query_id for query in DEV]
    of = named(made)
    assert {name for name, row in of.items() if row["used"]} == {*names, "teacher"}
    assert of["teacher"]["nDCG@10"] == of[LLM]["nDCG@10"] < of[RERANKER]["nDCG@10"]  # who has the last word
    rows = {row["query_id"]: row for row in made.rated}
    for turn in made.turns:
        for example in turn.train:
            row = rows[example.query_id]
            said = dict(zip(row["doc_ids"], row["normalized"][turn.teacher], strict=True))
            assert dict(zip(example.doc_ids, example.scores, strict=True)) == pytest.approx(said, abs=1e-6)


@pytest.mark.parametrize(
    ("treatment", "normalize", "reason"),
    [("positive", "min-max", EMPTY), ("drop", "min-max", EMPTY), ("keep", "min-max", ""), ("drop", "none", "")],
)
def test_a_source_that_scores_nothing_has_no_share_to_tell_false_negatives_by(treatment, normalize, reason):
    candidates = Candidates(Query("q", "?"), np.arange(3), {"bm25": np.array([0.0, 0.5, 0.0], np.float32)})
    lists = ScoredLists([candidates], [0], IDS, scale(normalize, [candidates], ["bm25"]), {})
    turns = turns_of([("bm25", {"bm25": 1.0})], lists, (), Rules(normalize, 0, 0, 0.0, treatment, 0.95))
    assert turns.false_negatives == 1
    assert turns.dropped.get(EMPTY, 0) == bool(reason)
    assert len(turns.turns[0].train) == (not reason)


def test_a_teacher_that_does_not_beat_where_students_begin_is_warned_of():
    notes = {
        "teachers": [
            {"name": "dense", "nDCG@10": 0.6},
            {"name": "bm25", "nDCG@10": 0.7},
            {"name": "teacher", "nDCG@10": 0.6},
        ],
        "target_entropy": 0.5,
    }
    (warning,) = teacher_warnings(notes, ["dense", "sparse"])
    assert "dense (0.600)" in warning
    assert not teacher_warnings(
        {**notes, "teachers": [{"name": "dense", "nDCG@10": 0.5}, {"name": "teacher", "nDCG@10": 0.6}]}, ["dense"]
    )


def test_a_target_that_says_nothing_is_warned_of():
    made = label(TRAIN, DEV, HELD_OUT, FINDER, {LLM: FakeScorer(lambda *_: 2.0)}, teachers=(LLM,), n_ways=8)
    notes = {"teachers": made.teachers, "target_entropy": made.entropy, "ties": made.ties}
    found = " ".join(teacher_warnings(notes, []))
    assert "hardly differ" in found
    assert f"{LLM} gave all documents the same score in 40 of 40 lists" in found


def test_scores_that_are_no_numbers_are_not_kept(tmp_path):
    answers = iter([math.nan, 2.0])
    with ValueCache(tmp_path / "scores.sqlite") as store:
        scorer = CachedScorer(FakeScorer(lambda text, doc_id: next(answers)), store, "corpus")
        assert math.isnan(scorer.score([(Query("q", "text"), "d")])[0])
        for _ in range(2):
            assert scorer.score([(Query("q", "text"), "d")]) == [2.0]


@pytest.mark.parametrize("name", ["bm25", "dense", "hybrid"])
def test_a_reranker_is_tried_on_the_best_of_the_named_retriever_or_of_the_fusion_chosen(name):
    found = [*find_named([Query(f"h{n}", f"held out {n}") for n in range(20)])]
    answers = [Qrel(one.query.query_id, DOC_IDS[one.rows_by_source["dense"][0]], 1) for one in found]
    held_out = JudgedQueries(SYNTHETIC, [one.query for one in found], answers)
    tried: dict[str, set[str]] = {}
    scorer = FakeScorer(lambda text, doc_id: tried.setdefault(text, set()).add(doc_id) or float(doc_id[1:]))
    finder = FINDER._replace(find=find_named)
    ways = {"n_ways": 9, "reranker_ways": 4}
    label(TRAIN, DEV, held_out, finder, {RERANKER: scorer}, teachers=(RERANKER,), candidates=name, **ways)
    lists = [best(one, IDS, dict.fromkeys(MEMBERS, 0.5), 9) for one in found]
    weights = fuse_retrievers(lists, relevance_of(held_out, IDS), MEMBERS, "min-max").weights
    assert weights["dense"] > weights["bm25"]
    for one, of_equal in zip(found, lists, strict=True):
        rows = best(of_equal, IDS, weights, 4).rows if name == "hybrid" else one.rows_by_source[name][:4]
        assert tried[one.query.text] == {DOC_IDS[row] for row in rows}


def test_by_ranks_nothing_depends_on_what_scores_are_like():
    def steep(queries, also=()):
        for one in find(queries, also):
            yield one._replace(scores={name: np.exp(9 * scores) for name, scores in one.scores.items()})

    plain = teacher_of(0.7)
    scorers = [plain, FakeScorer(lambda text, doc_id: np.exp(3 * plain.rate(text, doc_id)))]
    settings = {"normalize": "rank", "n_ways": 50, "reranker_ways": 50, "min_gain": -1}
    one, other = (
        label(TRAIN[:5], DEV, HELD_OUT, FINDER._replace(find=finds), {RERANKER: scorer}, **settings)
        for finds, scorer in zip((find, steep), scorers, strict=True)
    )
    assert (one.train, one.dev, one.notes["weights"]) == (other.train, other.dev, other.notes["weights"])
