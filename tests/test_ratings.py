"""Every score that a teacher gave is kept: no pair is rated twice, and a killed rating goes on where it was."""

from __future__ import annotations

import numpy as np
import pytest
from labelling import (
    ALL,
    DEV,
    FINDER,
    HELD_OUT,
    IDS,
    LLM,
    MEMBERS,
    PERFECT,
    QUERIES,
    TRAIN,
    find,
)

from acclimate.base import models
from acclimate.base.errors import DataError
from acclimate.base.testing import FakeScorer
from acclimate.learn.teachers.rated_lists import _ties
from acclimate.learn.teachers.rating import Ratings
from acclimate.learn.teachers.turns import ALIKE, ALONE, EMPTY, LOW, Rules, ScoredLists, turns_of
from acclimate.records import Query
from acclimate.search.candidates import Candidates
from acclimate.search.scales import NONE, as_it_is
from acclimate.search.scorers.cached import CachedScorer
from acclimate.search.value_cache import ValueCache
from acclimate.stages.label import RERANKER, label


def test_every_score_of_every_candidate_is_kept_raw_and_normalized():
    made = label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: PERFECT}, n_ways=8)
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
    assert made.scale == {"normalize": "min-max", "target": "in [0, 1]"}


@pytest.mark.parametrize(
    ("weights", "n_docs"),
    [({RERANKER: 1.0}, 3), ({RERANKER: 1.0, "bm25": 0.0}, 3), ({RERANKER: 0.5, "bm25": 0.5}, 6), ({"bm25": 1.0}, 6)],
)
def test_where_only_what_rates_a_few_candidates_has_weight_others_are_in_no_list(weights, n_docs):
    few, scores = np.array([0, 2, 4]), {"bm25": np.arange(6, dtype=np.float32), RERANKER: np.full(6, -9, np.float32)}
    scores[RERANKER][few] = [3, 1, 2]
    rated = [Candidates(query.as_query(), np.arange(6), scores) for query in (TRAIN[0], DEV[0])]
    rules = Rules(NONE, windows=0, source_within=0, drop_lowest=0, false_negatives="keep", false_negative_share=1)
    lists = ScoredLists(rated, [0, 0], IDS, as_it_is, {}, [few, few], [RERANKER])
    (turn,), _, _ = turns_of([("teacher", weights)], lists, {DEV[0].query_id}, rules)
    for (example,), query in ((turn.train, TRAIN[0]), (turn.dev, DEV[0])):
        assert (example.query_id, example.doc_ids[0], len(example.doc_ids)) == (query.query_id, "d00", n_docs)
        assert n_docs == 6 or {*example.doc_ids} == {"d00", "d02", "d04"}


@pytest.mark.parametrize(
    ("source", "scores", "rules", "reason"),
    [
        (None, [3, 2, 1], {"source_within": 1}, ""),  # without a source there is none to rank
        (1, [3, 2, 1], {"source_within": 1}, LOW),
        (1, [3, 2, 1], {"source_within": 2}, ""),
        (None, [3, 3, 1], {}, ""),
        (None, [3, 3, 3], {}, ALIKE),
        (0, [3, 3, 3], {}, ""),
        (2, [3, 2, 1], {"false_negatives": "drop"}, EMPTY),
        (1, [3, 2, 1], {"false_negatives": "drop"}, ""),
        (0, [3], {"drop_lowest": 0.5}, ALONE),
    ],
)
def test_a_list_that_teaches_nothing_is_dropped_and_its_reason_counted(source, scores, rules, reason):
    query, values = Query("q", "?"), np.array(scores, np.float32)
    lists = ScoredLists([Candidates(query, np.arange(len(scores)), {"bm25": values})], [source], IDS, as_it_is, {})
    rules = {"windows": 0, "source_within": 0, "drop_lowest": 0, "false_negatives": "keep", **rules}
    (turn,), _, dropped = turns_of([("bm25", {"bm25": 1.0})], lists, (), Rules(NONE, false_negative_share=1, **rules))
    assert {reason: n for reason, n in dropped.items() if n} == ({reason: 1} if reason else {})
    assert [example.has_positive for example in turn.train] == [source is not None] * (not reason)


def test_ties_are_counted_by_teacher():
    scorers = {
        RERANKER: FakeScorer(lambda text, doc_id: float(int(doc_id[1:]) % 3 == 0)),
        LLM: FakeScorer(lambda *_: 2.0),
    }
    made = label(TRAIN, DEV, HELD_OUT, FINDER, scorers, teachers=ALL, n_ways=30, min_gain=-1.0)
    assert made.ties["bm25"] == {"lists": 40, "at_the_top": 0, "flat": 0}
    assert made.ties[RERANKER]["at_the_top"] == 40
    assert made.ties[LLM] == {"lists": 40, "at_the_top": 40, "flat": 40}


@pytest.mark.parametrize(
    ("scores", "ties"),
    [
        ([2, 2, 1], (1, 1, 0)),
        ([2, 1, 1], (1, 0, 0)),
        ([1, 1], (1, 1, 1)),
        ([np.nan, 3, 3], (1, 1, 1)),
        ([3], (0, 0, 0)),
    ],
)
def test_a_tie_takes_two(scores, ties):
    candidates = Candidates(Query("q", "?"), np.arange(len(scores)), {"a": np.array(scores, np.float32)})
    assert tuple(_ties([candidates], ["a"])["a"].values()) == ties


def test_a_pair_is_rated_once():
    rated = []

    class Remembering(FakeScorer):
        def score(self, pairs):
            assert len({query.text for query, _ in pairs}) == 1
            rated.extend((query.text, doc_id) for query, doc_id in pairs)
            return super().score(pairs)

    twins = [*TRAIN, *(query._replace(query_id=f"{query.query_id}-again") for query in TRAIN)]
    made = label(twins, DEV, HELD_OUT, FINDER, {RERANKER: Remembering(PERFECT.rate)}, n_ways=50)
    assert RERANKER in made.weights
    assert len(rated) == len(set(rated)) > 512
    assert [example.query_id for example in made.train] == [query.query_id for query in twins]


@pytest.mark.parametrize("by_document", [False, True])
def test_lists_of_one_text_share_what_is_rated_and_each_gets_its_own(by_document):
    rate, done = (lambda text, doc_id: len(text) + int(doc_id[1:]) / 7), []
    scorer = type("Scorer", (FakeScorer,), {"by_document": by_document})(rate)
    ratings = Ratings({LLM: scorer}, IDS, lambda *progress: done.append(progress))
    for asked, n_rated in (([("a", [2, 5, 9]), ("a", [5, 30]), ("bb", [7])], 5), ([("a", [1, 2, 49])], 7)):
        lists = [Candidates(Query(f"q{n}", text), np.array(rows), {}) for n, (text, rows) in enumerate(asked)]
        for (text, rows), rated in zip(asked, ratings.rate(lists, [LLM]), strict=True):
            assert rated.scores[LLM].tolist() == [float(np.float32(rate(text, f"d{row}"))) for row in rows]
        assert done[-1] == (n_rated, n_rated)
    assert done == sorted(set(done))


def test_a_query_that_changes_is_rated_again_and_no_other(tmp_path):
    rated = []

    class Remembering(FakeScorer):
        def score(self, pairs):
            rated.append({query.query_id for query, _ in pairs})
            return super().score(pairs)

    def made(train):
        rated.clear()
        with ValueCache(tmp_path / "scores.sqlite") as store:
            kept = {RERANKER: CachedScorer(Remembering(PERFECT.rate), store, "corpus")}
            label(train, DEV, HELD_OUT, FINDER, kept, n_ways=8)
        return sorted(set().union(*rated))

    assert made(TRAIN) == sorted(query.query_id for query in QUERIES)
    assert made(TRAIN[1:]) == []
    changed = TRAIN[3]._replace(query_id="changed", text=f"another {TRAIN[3].text}")
    assert made([*TRAIN[:3], changed, *TRAIN[4:]]) == ["changed"]


def test_an_llm_is_asked_about_a_document_in_one_call_which_a_gpu_has_more_of(tmp_path, monkeypatch):
    class Reading(FakeScorer):
        by_document = True

        def score(self, pairs):
            documents.append({doc_id for _, doc_id in pairs})
            return super().score(pairs)

    made, calls = [], []
    for device in ("cpu", "cuda"):
        monkeypatch.setattr(models, "device", lambda device=device: device)
        calls.append(documents := [])
        with ValueCache(tmp_path / f"{device}.sqlite") as store:
            kept = {LLM: CachedScorer(Reading(PERFECT.rate), store, "corpus")}
            made.append(label(TRAIN, DEV, HELD_OUT, FINDER, kept, teachers=(LLM,), n_ways=8).train)
    assert made[0] == made[1]
    assert {len(documents) for documents in calls[0]} == {1}
    assert len(calls[1]) < len(calls[0]) / 8
    assert set().union(*calls[1]) == set().union(*calls[0])


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

        with ValueCache(tmp_path / folder) as store:
            kept = {RERANKER: CachedScorer(Once(rate), store, "corpus")}
            result = label(TRAIN, DEV, HELD_OUT, FINDER, kept, n_ways=8)
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
        label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: scorer}, n_ways=50, reranker_ways=50)
