"""Labels: the teacher is who helps on held-out queries, and its lists hold the source, first, with scores in [0, 1]."""

from __future__ import annotations

import math

import numpy as np
import pytest

from acclimate.base.errors import DataError, SettingError
from acclimate.base.testing import FakeScorer
from acclimate.corpus.judged import NOTHING_JUDGED, SYNTHETIC, Judged
from acclimate.learn.teachers.selection import given_weights, teacher_warnings
from acclimate.records import Qrel, Query, SyntheticQuery
from acclimate.search.bm25 import BM25
from acclimate.search.candidates import Candidates, min_max
from acclimate.search.kept_values import KeptValues
from acclimate.search.members import BM25Member, Ids
from acclimate.search.scales import NAMES, scale
from acclimate.search.scorers.kept import KeptScorer
from acclimate.search.system import System
from acclimate.stages.label import RERANKER, label

DOC_IDS = [f"d{n:02}" for n in range(50)]
IDS = Ids(DOC_IDS)
MEMBERS = ("bm25", "dense")
QUERIES = [SyntheticQuery(f"q{n:02}", f"query about {n}", DOC_IDS[n], -1.0) for n in range(40)]
TRAIN, DEV = QUERIES[:25], QUERIES[25:]
HELD_OUT = Judged(
    SYNTHETIC, [query.as_query() for query in DEV], [Qrel(query.query_id, query.doc_id, 1) for query in DEV]
)


def draw(*parts):
    """A generator of random numbers that follows from the parts."""
    return np.random.default_rng(list("|".join(map(str, parts)).encode()))


def find(queries, also=()):
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
    assert made.dropped == {}
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


@pytest.mark.parametrize("kind", NAMES)
def test_a_reranker_rates_the_best_and_the_others_count_as_the_worst_of_these(kind):
    teacher = Counting(lambda text, doc_id: PERFECT.score([(Query("", text), doc_id)])[0] - int(doc_id[1:]) / 100)
    made = label(
        TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: teacher}, n_ways=30, reranker_ways=12, normalize=kind
    )
    assert RERANKER in made.weights
    assert {len(example.doc_ids) for example in (*made.train, *made.dev)} == {30}
    for row in made.rated:
        raw, normalized = row["raw"][RERANKER], row["normalized"][RERANKER]
        fused = np.add(*(min_max(np.array(row["raw"][name])) for name in MEMBERS))
        rated = [score is not None for score in raw]
        assert sum(rated) == 12
        assert set(np.argsort(-fused)[:11]) <= set(np.flatnonzero(rated))  # the twelfth place may be the source's
        assert len({on_scale for on_scale, is_rated in zip(normalized, rated, strict=True) if not is_rated}) == 1
        assert normalized[raw.index(None)] == normalized[raw.index(min(score for score in raw if score is not None))]
        assert normalized[raw.index(None)] == min(normalized) < max(normalized)


@pytest.mark.parametrize("kind", NAMES)
def test_a_scale_is_of_what_was_rated(kind):
    rated, missing = np.array([3.0, -1.0, 7.0, 2.0], dtype=np.float32), np.full(6, np.nan, dtype=np.float32)
    whole, part = (
        Candidates(Query("q", "q"), np.arange(len(scores)), {"a": scores})
        for scores in (np.concatenate([rated, missing]), rated)
    )
    on_whole, on_part = (scale(kind, [one], ["a"])("a", one.scores["a"]) for one in (whole, part))
    assert on_whole[:4] == pytest.approx(on_part)
    assert on_whole[4:].tolist() == [on_part.min()] * 6


def test_who_teaches_without_retrievers_teaches_what_it_rated():
    alone = label(
        TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT}, n_ways=30, reranker_ways=12, teachers=(RERANKER,)
    )
    assert {len(example.doc_ids) for example in (*alone.train, *alone.dev)} == {12}
    turns = label(
        TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT}, n_ways=30, reranker_ways=12, mode="sequential"
    ).turns
    lengths = {turn.teacher: {len(example.doc_ids) for example in (*turn.train, *turn.dev)} for turn in turns}
    assert lengths == {"bm25": {30}, "dense": {30}, RERANKER: {12}}
    without = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {}, n_ways=30, reranker_ways=12)
    assert {len(example.doc_ids) for example in (*without.train, *without.dev)} == {30}


def test_trust_moves_weights_away_from_equal_ones():
    def skewed(queries, also=()):
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
    def low(queries, also=()):
        for one in find(queries):
            for scores in one.scores.values():
                scores[int(one.query.text.split()[-1])] = -1.0
            yield one

    made = label(TRAIN, DEV, HELD_OUT, low, IDS, MEMBERS, {}, n_ways=5)
    assert [example.doc_ids[0] for example in made.train] == [query.doc_id for query in TRAIN]
    assert {len(example.doc_ids) for example in made.train} == {5}
    assert {example.scores[0] for example in made.train} == {0.0}


def test_a_source_at_the_top_stays():
    def top(queries, also=()):
        for one in find(queries):
            for scores in one.scores.values():
                scores[int(one.query.text.split()[-1])] = 9.0
            yield one

    made = label(TRAIN, DEV, HELD_OUT, top, IDS, MEMBERS, {}, n_ways=5)
    assert [example.doc_ids[0] for example in made.train] == [query.doc_id for query in TRAIN]
    assert {example.scores[0] for example in made.train} == {1.0}


def test_a_source_that_was_not_found_joins_its_list_and_is_rated_by_everyone():
    bm25 = BM25.build([" ".join(map(str, range(row, row + 9))) for row in range(50)])
    members = {"bm25": BM25Member(bm25), "dense": BM25Member(bm25)}
    found = System(IDS, members, MEMBERS, dict.fromkeys(MEMBERS, 1.0), 3).candidates
    asked_for = [query._replace(text="5 6 7") for query in TRAIN[10:]]  # whose sources have none of these words
    assert not any(IDS.row[query.doc_id] in one.rows for query, one in zip(asked_for, found(asked_for), strict=True))
    scorer = Counting(lambda text, doc_id: float(doc_id == "d5"))
    made = label(asked_for, DEV, HELD_OUT, found, IDS, MEMBERS, {RERANKER: scorer}, weights="equal", n_ways=3)
    assert made.dropped == {}
    assert [example.doc_ids[0] for example in made.train] == [query.doc_id for query in asked_for]
    for example, row in zip(made.train, made.rated, strict=False):
        assert len(example.doc_ids) == 3
        assert len(set(example.doc_ids)) == 3
        at = row["doc_ids"].index(example.doc_ids[0])
        assert all(row["raw"][name][at] == 0.0 for name in (*MEMBERS, RERANKER))


@pytest.mark.parametrize("treatment", ["drop", "positive"])
def test_a_source_that_its_teacher_rates_worst_makes_no_positives_of_the_others(treatment):
    worst = FakeScorer(lambda text, doc_id: -float(int(text.split()[-1]) == int(doc_id[1:])))
    settings = {"teachers": (RERANKER,), "min_gain": -1.0, "n_ways": 8, "false_negatives": treatment}
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: worst}, **settings)
    assert made.train == []
    assert made.dropped["nothing but false negatives"] == len(QUERIES)


def test_what_a_query_is_taught_does_not_depend_on_the_others():
    whole = {e.query_id: e for e in label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT}).train}
    some = label(TRAIN[::-3], DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT}).train
    assert some == [whole[query.query_id] for query in TRAIN[::-3]]


def test_fewer_candidates_than_ways():
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {}, n_ways=100)
    assert {len(example.doc_ids) for example in made.train} == {50}


def test_nothing_held_out_is_an_error_and_nothing_to_teach_is_not():
    with pytest.raises(DataError, match="no held-out queries"):
        label(TRAIN, [], NOTHING_JUDGED, find, IDS, MEMBERS, {})
    made = label([], DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT})
    assert (made.train, made.entropy) == ([], 0.0)


# Any number of teachers


def teacher_of(quality):
    """Right with that probability, by query."""

    def rate(text, doc_id):
        is_source = int(text.split()[-1]) == int(doc_id[1:])
        knows = draw(text, quality, "knows").random() < quality
        return float(draw(text, doc_id, quality).random()) + (10.0 if is_source and knows else 0.0)

    return FakeScorer(rate)


def named(made):
    return {row["name"]: row for row in made.teachers}


LLM = "likelihood:some/llm"
ALL = ("bm25", "dense", RERANKER, LLM)


def test_scorers_are_added_as_long_as_they_help():
    scorers = {RERANKER: NOISE, LLM: teacher_of(0.9)}
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, scorers, teachers=ALL, n_ways=8)
    assert {LLM} <= set(made.weights) <= {"bm25", "dense", LLM}
    assert "does not help" in named(made)[RERANKER]["reason"]
    assert asked == {query.text for query in DEV}
    assert (
        made.train == label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {LLM: scorers[LLM]}, teachers=ALL, n_ways=8).train
    )


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
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, scorers, n_ways=8)
    assert set(scorers) <= set(made.weights)  # `reranker` names them all
    assert sum(made.weights.values()) == pytest.approx(1, abs=1e-3)
    of = named(made)
    assert of["teacher"]["nDCG@10"] > max(of[name]["nDCG@10"] for name in scorers)


def test_who_is_not_named_is_measured_and_does_not_teach():
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT}, teachers=("dense",), n_ways=8)
    assert {name for name, weight in made.weights.items() if weight} == {"dense"}
    assert named(made)[RERANKER]["nDCG@10"] == 1.0
    assert named(made)[RERANKER]["reason"] == "not among label.teachers"


def test_a_scorer_alone_teaches_without_retrievers():
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT}, teachers=(RERANKER,), n_ways=8)
    assert made.weights == {RERANKER: 1.0}
    assert all(example.scores[0] == 1.0 and set(example.scores[1:]) == {0.0} for example in made.train)


def test_more_than_four_teachers_are_weighed_too():
    scorers = {f"{RERANKER}-{n}": teacher_of(0.5 + n / 100) for n in range(6)}
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, scorers, n_ways=8, min_gain=-1.0)
    assert set(made.weights) == {*MEMBERS, *scorers}
    assert sum(made.weights.values()) == pytest.approx(1, abs=1e-2)
    of = named(made)
    assert of["teacher"]["nDCG@10"] >= max(of[name]["nDCG@10"] for name in scorers)


def test_weights_as_one_likes():
    scorers = {RERANKER: PERFECT}
    equal = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, scorers, weights="equal", n_ways=8)
    assert equal.weights == pytest.approx({"bm25": 1 / 3, "dense": 1 / 3, RERANKER: 1 / 3}, abs=1e-4)
    given = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, scorers, weights="dense=3, reranker=1", n_ways=8)
    assert given.weights == {"dense": 0.75, RERANKER: 0.25}
    assert not named(given)["bm25"]["used"]
    two = {f"{RERANKER}-{n}": PERFECT for n in range(2)}
    split = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, two, weights="dense=1,reranker=3", n_ways=8)
    assert split.weights == {"dense": 0.25, **dict.fromkeys(two, 0.375)}


def test_numbers_that_are_no_weights():
    for wrong in ("best", "bm25", "bm25=x", "other=1", "bm25=0", "bm25=-1,dense=2", "bm25=nan", ""):
        with pytest.raises(SettingError, match=r"label\.weights"):
            given_weights(wrong, ("bm25", "dense"))


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
        {"trust": 1.5},
        {"trust": -0.1},
    ],
)
def test_settings_that_cannot_be(wrong):
    with pytest.raises(SettingError):
        label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {}, **wrong)


# One scale


@pytest.mark.parametrize("kind", ["min-max", "rank", "z", "percentile"])
def test_a_teachers_own_scale_changes_nothing(kind):
    def made(scorer, find=find):
        return label(
            TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: scorer}, normalize=kind, min_gain=-1.0, n_ways=8
        )

    def stretched(queries, also=()):
        for one in find(queries):
            yield one._replace(scores={**one.scores, "dense": one.scores["dense"] * 64 - 128})

    scorer = teacher_of(0.7)
    plain = made(scorer)
    other = made(FakeScorer(lambda *pair: 8 * scorer.rate(*pair) - 4), stretched)
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

    made = label(TRAIN, DEV, HELD_OUT, poor_or_rich, IDS, MEMBERS, {}, normalize="percentile", n_ways=8)
    best = {query.doc_id: max(example.scores) for query, example in zip(TRAIN, made.train, strict=True)}
    assert max(best[doc_id] for doc_id in DOC_IDS[:25:2]) < 0.3 < 0.7 < min(best[doc_id] for doc_id in DOC_IDS[1:25:2])
    assert set(made.scale["bounds"]) == set(MEMBERS)


# What is kept


def test_every_score_of_every_candidate_is_kept_raw_and_normalized():
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: PERFECT}, n_ways=8)
    rows = list(made.rated)
    assert [row["query_id"] for row in rows] == [query.query_id for query in QUERIES]
    raw = {one.query.query_id: one.scores for one in find([query.as_query() for query in QUERIES])}
    for row, query in zip(rows, QUERIES, strict=True):
        at = [int(doc_id[1:]) for doc_id in row["doc_ids"]]
        for name in MEMBERS:
            assert np.array_equal(np.array(row["raw"][name], dtype=np.float32), raw[query.query_id][name][at])
        assert row["raw"][RERANKER] == [5.0 if doc_id == query.doc_id else -3.0 for doc_id in row["doc_ids"]]
        assert row["normalized"][RERANKER] == [float(doc_id == query.doc_id) for doc_id in row["doc_ids"]]
        for scores in row["normalized"].values():
            assert (min(scores), max(scores)) == (0.0, 1.0)
    assert made.scale == {"normalize": "min-max"}


def test_ties_are_counted_by_teacher():
    scorers = {
        RERANKER: FakeScorer(lambda text, doc_id: float(int(doc_id[1:]) % 3 == 0)),
        LLM: FakeScorer(lambda *_: 2.0),
    }
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, scorers, teachers=ALL, n_ways=30, min_gain=-1.0)
    assert made.ties["bm25"] == {"lists": 40, "at_the_top": 0, "flat": 0}
    assert made.ties[RERANKER]["at_the_top"] == 40
    assert made.ties[LLM] == {"lists": 40, "at_the_top": 40, "flat": 40}


def test_a_pair_is_rated_once():
    rated = []

    class Remembering(FakeScorer):
        def score(self, pairs):
            assert len({query.text for query, _ in pairs}) == 1
            rated.extend((query.text, doc_id) for query, doc_id in pairs)
            return super().score(pairs)

    twins = [*TRAIN, *(query._replace(query_id=f"{query.query_id}-again") for query in TRAIN)]
    made = label(twins, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: Remembering(PERFECT.rate)}, n_ways=50)
    assert RERANKER in made.weights
    assert len(rated) == len(set(rated)) > 512
    assert [example.query_id for example in made.train] == [query.query_id for query in twins]


def test_a_query_that_changes_is_rated_again_and_no_other(tmp_path):
    rated = []

    class Remembering(FakeScorer):
        def score(self, pairs):
            rated.append({query.query_id for query, _ in pairs})
            return super().score(pairs)

    def made(train):
        rated.clear()
        with KeptValues(tmp_path / "scores.sqlite") as store:
            kept = {RERANKER: KeptScorer(Remembering(PERFECT.rate), store, "corpus")}
            label(train, DEV, HELD_OUT, find, IDS, MEMBERS, kept, n_ways=8)
        return sorted(set().union(*rated))

    assert made(TRAIN) == sorted(query.query_id for query in QUERIES)
    assert made(TRAIN[1:]) == []
    changed = TRAIN[3]._replace(query_id="changed", text=f"another {TRAIN[3].text}")
    assert made([*TRAIN[:3], changed, *TRAIN[4:]]) == ["changed"]


def test_an_llm_is_asked_about_one_document_in_a_call(tmp_path):
    class Reading(FakeScorer):
        by_document = True

        def score(self, pairs):
            assert len({doc_id for _, doc_id in pairs}) == 1
            documents.append(pairs[0][1])
            return super().score(pairs)

    documents: list[str] = []
    with KeptValues(tmp_path / "scores.sqlite") as store:
        kept = {LLM: KeptScorer(Reading(PERFECT.rate), store, "corpus")}
        label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, kept, teachers=(LLM,), n_ways=8)
    assert documents


def test_a_killed_rating_goes_on_where_it_was(tmp_path):
    batches = []

    def made(folder, *, until=None):
        def rate(text, doc_id):
            if until is not None and len(batches) == until:
                raise KeyboardInterrupt
            return PERFECT.rate(text, doc_id)

        class Once(FakeScorer):
            def score(self, pairs):
                scores = super().score(pairs)
                batches.append(len(pairs))
                return scores

        with KeptValues(tmp_path / folder) as store:
            kept = {RERANKER: KeptScorer(Once(rate), store, "corpus")}
            result = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, kept, n_ways=8)
            return result._replace(rated=list(result.rated))

    undisturbed = made("whole")
    whole, batches[:] = list(batches), []
    with pytest.raises(KeyboardInterrupt):
        made("killed", until=10)
    assert made("killed") == undisturbed
    assert batches == whole  # each batch once, in both lives together


@pytest.mark.parametrize("rotten", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(rotten):
    scorer = FakeScorer(lambda text, doc_id: rotten if doc_id == "d30" else 1.0)
    with pytest.raises(DataError, match=r"reranker rated query q\d\d and document d30"):
        label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {RERANKER: scorer}, n_ways=50, reranker_ways=50)


# One after the other


def test_teachers_take_turns_in_the_order_of_their_names():
    scorers = {LLM: teacher_of(0.9), RERANKER: PERFECT}
    names = (RERANKER, "dense", LLM)
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, scorers, teachers=names, mode="sequential", n_ways=8)
    assert [turn.teacher for turn in made.turns] == list(names)
    for turn in made.turns:
        assert [example.query_id for example in turn.train] == [query.query_id for query in TRAIN]
        assert [example.query_id for example in turn.dev] == [query.query_id for query in DEV]
    of = named(made)
    assert {name for name, row in of.items() if row["used"]} == {*names, "teacher"}
    assert of["teacher"]["nDCG@10"] == of[LLM]["nDCG@10"]  # who has the last word
    rows = {row["query_id"]: row for row in made.rated}
    for turn in made.turns:
        for example in turn.train:
            row = rows[example.query_id]
            said = dict(zip(row["doc_ids"], row["normalized"][turn.teacher], strict=True))
            assert dict(zip(example.doc_ids, example.scores, strict=True)) == pytest.approx(said, abs=1e-6)


# False negatives


def test_false_negatives_are_kept_dropped_or_made_positives():
    def made(treatment, share=0.9):
        return label(
            TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {}, n_ways=8,
            false_negatives=treatment, false_negative_share=share,
        )  # fmt: skip

    kept, dropped, positive = made("keep"), made("drop"), made("positive")
    assert kept.false_negatives == dropped.false_negatives == positive.false_negatives > 0
    assert made("keep", 5.0).false_negatives < kept.false_negatives
    whole = {example.query_id: example for example in kept.train}
    for example in dropped.train:
        before = dict(zip(whole[example.query_id].doc_ids, whole[example.query_id].scores, strict=True))
        own = example.scores[0]
        assert all(score <= 0.9 * own for score in example.scores[1:])
        assert {doc_id for doc_id in before if doc_id not in example.doc_ids} == {
            doc_id for doc_id in before if before[doc_id] > 0.9 * own and doc_id != example.doc_ids[0]
        }
    for example in positive.train:
        before = dict(zip(whole[example.query_id].doc_ids, whole[example.query_id].scores, strict=True))
        for doc_id, score in zip(example.doc_ids, example.scores, strict=True):
            assert score == (example.scores[0] if before[doc_id] > 0.9 * example.scores[0] else before[doc_id])
    assert dropped.dropped["nothing but false negatives"] == len(TRAIN) + len(DEV) - len(dropped.train) - len(
        dropped.dev
    )


@pytest.mark.parametrize("rank", range(1, 9))
def test_a_source_at_any_rank_makes_an_example(rank):
    def ranked(queries, also=()):
        for one in find(queries):
            source = int(one.query.text.split()[-1])
            values = -np.arange(50, dtype=np.float32)
            order = [row for row in range(50) if row != source]
            order.insert(rank - 1, source)
            values[order] = -np.arange(50, dtype=np.float32)
            yield one._replace(scores=dict.fromkeys(MEMBERS, values))

    made = label(TRAIN, DEV, HELD_OUT, ranked, IDS, MEMBERS, {}, n_ways=8)
    assert [example.doc_ids[0] for example in made.train] == [query.doc_id for query in TRAIN]
    assert [example.scores[0] for example in made.train] == pytest.approx([1 - (rank - 1) / 7] * 25, abs=1e-6)


# Warnings


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
    made = label(TRAIN, DEV, HELD_OUT, find, IDS, MEMBERS, {LLM: FakeScorer(lambda *_: 2.0)}, teachers=(LLM,), n_ways=8)
    notes = {"teachers": made.teachers, "target_entropy": made.entropy, "ties": made.ties}
    found = " ".join(teacher_warnings(notes, []))
    assert "hardly differ" in found
    assert f"{LLM} gave all documents the same score in 40 of 40 lists" in found


def test_scores_that_are_no_numbers_are_not_kept(tmp_path):
    answers = iter([math.nan, 2.0])
    with KeptValues(tmp_path / "scores.sqlite") as store:
        scorer = KeptScorer(FakeScorer(lambda text, doc_id: next(answers)), store, "corpus")
        assert math.isnan(scorer.score([(Query("q", "text"), "d")])[0])
        for _ in range(2):
            assert scorer.score([(Query("q", "text"), "d")]) == [2.0]
