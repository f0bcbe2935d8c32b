"""Labels: the teacher is who helps on held-out queries, and its lists hold the source, first, with scores in [0, 1]."""

from __future__ import annotations

import numpy as np
import pytest
from labelling import (
    DEV,
    FINDER,
    HELD_OUT,
    IDS,
    MEMBERS,
    NOISE,
    PERFECT,
    QUERIES,
    TRAIN,
    Counting,
    asked,
    find,
)

from acclimate.base.errors import DataError
from acclimate.base.testing import FakeScorer
from acclimate.corpus.judged_queries import NOTHING_JUDGED
from acclimate.records import Query
from acclimate.search.bm25 import BM25
from acclimate.search.candidates import Candidates, min_max
from acclimate.search.members import BM25Member
from acclimate.search.scales import NAMES, NONE, scale
from acclimate.search.system import System
from acclimate.stages.label import RERANKER, label


@pytest.fixture(autouse=True)
def _nobody_asked():
    asked.clear()


@pytest.mark.parametrize("reranker", [None, PERFECT, NOISE])
def test_every_list_holds_its_source_first_and_scores_between_0_and_1(reranker):
    labels = label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: reranker} if reranker else {}, n_ways=8)
    for examples, queries in ((labels.train, TRAIN), (labels.dev, DEV)):
        assert [example.query_id for example in examples] == [query.query_id for query in queries]
        for example, query in zip(examples, queries, strict=True):
            assert example.doc_ids[0] == query.doc_id
            assert len(example.doc_ids) == len(set(example.doc_ids)) == len(example.scores) == 8
            assert min(example.scores) == 0.0
            assert max(example.scores) == 1.0
            assert list(example.scores[1:]) == sorted(example.scores[1:], reverse=True)
    assert labels.dropped == {}
    assert 0 < labels.entropy < 1


def test_a_perfect_reranker_teaches():
    labels = label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: PERFECT}, n_ways=8)
    of = {teacher["name"]: teacher for teacher in labels.teachers}
    assert of[RERANKER]["used"]
    assert of[RERANKER]["nDCG@10"] == 1.0
    assert labels.weights[RERANKER] >= 0.3
    assert sum(labels.weights.values()) == pytest.approx(1, abs=1e-3)
    assert of["teacher"]["nDCG@10"] > of["bm25"]["nDCG@10"]
    assert asked == {query.text for query in QUERIES}
    assert all(example.scores[0] == 1.0 for example in labels.train)


def test_a_random_reranker_gets_no_weight_and_is_not_asked_about_training_queries():
    labels = label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: NOISE}, n_ways=8)
    of = {teacher["name"]: teacher for teacher in labels.teachers}
    assert (of[RERANKER]["used"], of[RERANKER]["weight"]) == (False, 0.0)
    assert "does not improve" in of[RERANKER]["reason"]
    assert RERANKER not in labels.weights
    assert asked == {query.text for query in DEV}
    assert labels.train == label(TRAIN, DEV, HELD_OUT, FINDER, {}, n_ways=8).train


def test_a_gain_below_the_least_gain_is_none():
    labels = label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: PERFECT}, n_ways=8, min_gain=0.9)
    assert RERANKER not in labels.weights


@pytest.mark.parametrize("kind", [kind for kind in NAMES if kind != NONE])
def test_a_reranker_rates_the_best_and_the_others_count_as_the_worst_of_these(kind):
    teacher = Counting(lambda text, doc_id: PERFECT.score([(Query("", text), doc_id)])[0] - int(doc_id[1:]) / 100)
    labels = label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: teacher}, n_ways=30, reranker_ways=12, normalize=kind)
    assert RERANKER in labels.weights
    assert {len(example.doc_ids) for example in (*labels.train, *labels.dev)} == {30}
    for row in labels.rated:
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
    on_whole, on_part = (scale(kind, [candidates], ["a"])("a", candidates.scores["a"]) for candidates in (whole, part))
    assert on_whole[:4] == pytest.approx(on_part)
    assert on_whole[4:].tolist() == [on_part.min()] * 6


def test_who_teaches_without_retrievers_teaches_what_it_rated():
    alone = label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: PERFECT}, n_ways=30, reranker_ways=12, teachers=(RERANKER,))
    assert {len(example.doc_ids) for example in (*alone.train, *alone.dev)} == {12}
    turns = label(
        TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: PERFECT}, n_ways=30, reranker_ways=12, mode="sequential"
    ).turns
    lengths = {turn.teacher: {len(example.doc_ids) for example in (*turn.train, *turn.dev)} for turn in turns}
    assert lengths == {"bm25": {30}, "dense": {30}, RERANKER: {12}}
    without = label(TRAIN, DEV, HELD_OUT, FINDER, {}, n_ways=30, reranker_ways=12)
    assert {len(example.doc_ids) for example in (*without.train, *without.dev)} == {30}


def test_a_source_below_the_cut_takes_the_last_place():
    def low(queries, also=()):
        for candidates in find(queries):
            for scores in candidates.scores.values():
                scores[int(candidates.query.text.split()[-1])] = -1.0
            yield candidates

    labels = label(TRAIN, DEV, HELD_OUT, FINDER._replace(find=low), {}, n_ways=5)
    assert [example.doc_ids[0] for example in labels.train] == [query.doc_id for query in TRAIN]
    assert {len(example.doc_ids) for example in labels.train} == {5}
    assert {example.scores[0] for example in labels.train} == {0.0}


def test_a_source_at_the_top_stays():
    def top(queries, also=()):
        for candidates in find(queries):
            for scores in candidates.scores.values():
                scores[int(candidates.query.text.split()[-1])] = 9.0
            yield candidates

    labels = label(TRAIN, DEV, HELD_OUT, FINDER._replace(find=top), {}, n_ways=5)
    assert [example.doc_ids[0] for example in labels.train] == [query.doc_id for query in TRAIN]
    assert {example.scores[0] for example in labels.train} == {1.0}


def test_a_source_that_was_not_found_joins_its_list_and_is_rated_by_everyone():
    bm25 = BM25.build([" ".join(map(str, range(row, row + 9))) for row in range(50)])
    members = {"bm25": BM25Member(bm25), "dense": BM25Member(bm25)}
    find_by_words = System(IDS, members, MEMBERS, dict.fromkeys(MEMBERS, 1.0), 3).candidates
    asked_for = [query._replace(text="5 6 7") for query in TRAIN[10:]]  # whose sources have none of these words
    assert not any(
        IDS.row[query.doc_id] in candidates.rows
        for query, candidates in zip(asked_for, find_by_words(asked_for), strict=True)
    )
    scorer = Counting(lambda text, doc_id: float(doc_id == "d5"))
    finder = FINDER._replace(find=find_by_words)
    labels = label(asked_for, DEV, HELD_OUT, finder, {RERANKER: scorer}, weights="equal", n_ways=3)
    assert labels.dropped == {}
    assert [example.doc_ids[0] for example in labels.train] == [query.doc_id for query in asked_for]
    for example, row in zip(labels.train, labels.rated, strict=False):
        assert len(example.doc_ids) == 3
        assert len(set(example.doc_ids)) == 3
        at = row["doc_ids"].index(example.doc_ids[0])
        assert all(row["raw"][name][at] == 0.0 for name in (*MEMBERS, RERANKER))


@pytest.mark.parametrize("treatment", ["drop", "positive"])
def test_a_source_that_its_teacher_rates_worst_makes_no_positives_of_the_others(treatment):
    worst = FakeScorer(lambda text, doc_id: -float(int(text.split()[-1]) == int(doc_id[1:])))
    settings = {"teachers": (RERANKER,), "min_gain": -1.0, "n_ways": 8, "false_negatives": treatment}
    labels = label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: worst}, **settings)
    assert labels.train == []
    assert labels.dropped["nothing but false negatives"] == len(QUERIES)


def test_what_a_query_is_taught_does_not_depend_on_the_others():
    whole = {e.query_id: e for e in label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: PERFECT}).train}
    some = label(TRAIN[::-3], DEV, HELD_OUT, FINDER, {RERANKER: PERFECT}).train
    assert some == [whole[query.query_id] for query in TRAIN[::-3]]


def test_fewer_candidates_than_ways():
    labels = label(TRAIN, DEV, HELD_OUT, FINDER, {}, n_ways=100)
    assert {len(example.doc_ids) for example in labels.train} == {50}


def test_nothing_held_out_is_an_error_and_nothing_to_teach_is_not():
    with pytest.raises(DataError, match="no held-out queries"):
        label(TRAIN, [], NOTHING_JUDGED, FINDER, {})
    labels = label([], DEV, HELD_OUT, FINDER, {RERANKER: PERFECT})
    assert (labels.train, labels.entropy) == ([], 0.0)


def test_false_negatives_are_kept_dropped_or_made_positives():
    def labels_with(treatment, share=0.9):
        return label(
            TRAIN, DEV, HELD_OUT, FINDER, {}, n_ways=8,
            false_negatives=treatment, false_negative_share=share,
        )  # fmt: skip

    kept, dropped, positive = labels_with("keep"), labels_with("drop"), labels_with("positive")
    assert kept.false_negatives == dropped.false_negatives == positive.false_negatives > 0
    assert labels_with("keep", 5.0).false_negatives < kept.false_negatives
    whole = {example.query_id: example for example in kept.train}
    for example in dropped.train:
        before = dict(zip(whole[example.query_id].doc_ids, whole[example.query_id].scores, strict=True))
        source_score = example.scores[0]
        assert all(score <= 0.9 * source_score for score in example.scores[1:])
        assert {doc_id for doc_id in before if doc_id not in example.doc_ids} == {
            doc_id for doc_id in before if before[doc_id] > 0.9 * source_score and doc_id != example.doc_ids[0]
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
        for candidates in find(queries):
            source = int(candidates.query.text.split()[-1])
            values = -np.arange(50, dtype=np.float32)
            order = [row for row in range(50) if row != source]
            order.insert(rank - 1, source)
            values[order] = -np.arange(50, dtype=np.float32)
            yield candidates._replace(scores=dict.fromkeys(MEMBERS, values))

    labels = label(TRAIN, DEV, HELD_OUT, FINDER._replace(find=ranked), {}, n_ways=8)
    assert [example.doc_ids[0] for example in labels.train] == [query.doc_id for query in TRAIN]
    assert [example.scores[0] for example in labels.train] == pytest.approx([1 - (rank - 1) / 7] * 25, abs=1e-6)


# Queries of a log


LOG = [Query(f"log{n}", f"what people ask about {n}") for n in range(30, 45)]


@pytest.mark.parametrize("reranker", [None, PERFECT])
@pytest.mark.parametrize("settings", [{}, {"false_negatives": "positive"}, {"mode": "sequential"}])
def test_queries_of_a_log_teach_what_the_teacher_says_of_them(reranker, settings):
    data = TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: reranker} if reranker else {}
    without, labels = label(*data, n_ways=8, **settings), label(*data, LOG, n_ways=8, **settings)
    assert (labels.weights, labels.false_negatives) == (without.weights, without.false_negatives)
    for turn, before in zip(labels.turns, without.turns, strict=True):
        assert turn.dev == before.dev
        of_log = turn.train[len(before.train) :]
        assert turn.train == [*before.train, *of_log]
        assert [example.query_id for example in of_log] == [query.query_id for query in LOG]
        assert not any(example.has_positive for example in of_log)
        assert all(example.has_positive for example in (*before.train, *before.dev))
        for example in of_log:
            assert list(example.scores) == sorted(example.scores, reverse=True)
            assert (example.scores[0], example.scores[-1], len(example.doc_ids)) == (1.0, 0.0, 8)
    if reranker and not settings:
        best = {example.query_id: example.doc_ids[0] for example in labels.train[len(TRAIN) :]}
        assert sum(best[query.query_id] == f"d{query.text.split()[-1]}" for query in LOG) > 10
    assert {query.text for query in LOG} <= asked or reranker is None
    assert len(list(labels.rated)) == len(QUERIES) + len(LOG)


def test_the_most_frequent_queries_of_a_log_are_taken_and_none_where_none_may_be():
    data = TRAIN, DEV, HELD_OUT, FINDER, {}
    some, none = (label(*data, LOG, log_queries=count).train[len(TRAIN) :] for count in (3, 0))
    assert [example.query_id for example in some] == ["log30", "log31", "log32"]
    assert none == []


def test_a_query_of_a_log_that_the_teacher_knows_nothing_of_is_left_out_and_counted():
    def lost(queries, also=()):
        for candidates in find(queries):
            if candidates.query.query_id == "log31":
                zeros = np.zeros(50, np.float32)
                candidates = candidates._replace(scores=dict.fromkeys(MEMBERS, zeros))
            yield candidates

    labels = label(TRAIN, DEV, HELD_OUT, FINDER._replace(find=lost), {}, LOG)
    assert "log31" not in {example.query_id for example in labels.train}
    assert labels.dropped == {"of the log, everything rated alike": 1}
    assert len(labels.train) == len(TRAIN) + len(LOG) - 1
