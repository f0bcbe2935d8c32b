"""Filters that ask a teacher, a reranker or an LLM about queries: what stays, and that nothing is asked twice."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_filter import NOTHING, Told, queries_of

import acclimate
from acclimate.base.errors import SettingError
from acclimate.base.testing import FakeScorer
from acclimate.learn.rerankers import consistency
from acclimate.learn.students import round_trip
from acclimate.llm.grade import read_grade
from acclimate.records import Doc, Query, SyntheticQuery
from acclimate.run.retrievers import BASE_MEMBERS
from acclimate.search.candidates import Candidates
from acclimate.search.members import Ids
from acclimate.search.scorers.cached import CachedScorer
from acclimate.search.value_cache import ValueCache
from acclimate.stages.filter import filter_queries
from acclimate.stages.raters import RunRaters


def test_the_teacher_must_rank_the_source_first():
    queries = queries_of("first", "second", "lost")
    raters = Told(teacher={"first": {"d": 2.0, "e": 1.0}, "second": {"e": 2.0, "d": 1.0}})
    selection = filter_queries(queries, raters, filters=("teacher",))
    assert [query.text for query in selection.queries] == ["first"]
    assert [row["teacher_rank"] for row in selection.judged] == [1, 2, None]


def test_the_best_by_a_rerankers_score_stay():
    queries = queries_of("good", "bad", "better", logprobs=[-1.0, -0.1, -3.0])
    raters = Told(scores={"good": 1.5, "bad": -2.0, "better": 3.0})
    selection = filter_queries(queries, raters, filters=("reranker",), reranker="one", keep_top_k=2)
    assert [query.text for query in selection.queries] == ["good", "better"]
    assert [row["reranker"] for row in selection.judged] == [1.5, -2, 3]


def test_a_reranker_reads_as_many_tokens_as_it_is_told():
    class Listening(Told):
        def rerank(self, model, queries, max_tokens):
            self.asked.append((model, max_tokens))
            return super().rerank(model, queries, max_tokens)

    raters = Listening()
    filter_queries(queries_of("one"), raters, filters=("reranker",), reranker="monot5", reranker_tokens=77)
    assert raters.asked[0] == ("monot5", 77)


class Stopped(Exception):
    """Raised in place of a training."""


@pytest.mark.parametrize("filtering", ["consistency", "round trip"])
def test_what_is_trained_to_filter_learns_of_no_held_out_document_and_contrasts_no_source(
    filtering, tmp_path, monkeypatch
):
    queries = [SyntheticQuery(f"q{n}", f"query {n}", f"d{n}", -1.0) for n in range(20)]
    corpus = {query.doc_id: Doc(query.doc_id, query.text) for query in queries}
    held_out, sides, passed = {"d3", "d7"}, [], {}

    def stop(*data, **settings):
        sides.extend(data[:2] if filtering == "consistency" else data[0][0])
        passed.update(settings)
        raise Stopped

    monkeypatch.setattr(consistency, "train_rerankers", stop)
    monkeypatch.setattr(round_trip, "train_students", stop)
    ways: Any = {"can_contrast": lambda query, doc_id: True, "n_ways": 19}
    rest = {"settings": {"learning_rate": 0.5}, "seed": 7, "progress": lambda done, total: None}
    with pytest.raises(Stopped):
        if filtering == "consistency":
            candidates = {query.query_id: [*corpus] for query in queries} | {"q5": ["d5"]}  # has nothing to contrast
            consistency.trained_reranker(queries, candidates, held_out, corpus, tmp_path, **ways, **rest)
        else:
            nothing: Any = None
            round_trip.trained_retriever(queries, held_out, nothing, nothing, tmp_path, **rest)
    train, checks = ({example.doc_ids[0] for example in side} for side in sides)
    assert (train, checks) == (corpus.keys() - held_out - ({"d5"} if filtering == "consistency" else set()), held_out)
    assert {**passed, **passed["settings"]}.items() >= {"learning_rate": 0.5, "seed": 7}.items()
    assert all(example.doc_ids[0] not in example.doc_ids[1:] for side in sides for example in side)
    assert {len(example.doc_ids) for side in sides for example in side} == {19 if filtering == "consistency" else 1}


def test_a_source_below_the_depth_is_not_found_and_late_interaction_is_one_of_the_teachers(tmp_path):
    query, ids, rows = SyntheticQuery("q", "?", "d3", -1.0), Ids([f"d{n}" for n in range(5)]), np.arange(5)
    falling, found = np.arange(5, 0, -1).astype(np.float32), {"bm25": rows, "dense": rows}
    scores = {"bm25": falling, "dense": falling, "late-interaction": 100 * (rows == 3).astype(np.float32)}
    kept = SimpleNamespace(candidates=lambda *_: [Candidates(query.as_query(), rows, scores, rows_by_source=found)])
    run: Any = SimpleNamespace(
        base=SimpleNamespace(names=BASE_MEMBERS, ids=ids), candidates=lambda *_: nullcontext(kept)
    )
    raters = RunRaters(run, None, None, tmp_path, lambda *_: None)  # type: ignore[arg-type]
    assert [raters.ranks("bm25", [query], depth) for depth in (3, 4)] == [[math.inf], [4.0]]
    assert (raters.ranks("hybrid", [query], 5), raters.ranks("teacher", [query], 5)) == ([4.0], [3.0])


@pytest.mark.parametrize(
    ("kind", "matters"),
    [
        ("consistency_ranks", "query doc_id seed split corpus base train n_ways near".split()),
        ("_trained_ranks", "query doc_id seed split index distill depth near".split()),
    ],
)
def test_ranks_by_what_is_trained_are_stored_for_exactly_what_it_learns_from(kind, matters, tmp_path, monkeypatch):
    keys: list[str] = []
    monkeypatch.setattr("acclimate.stages.raters.cached_scores", lambda _, key, n: keys.append(key) or [1.0] * n)
    monkeypatch.setattr("acclimate.base.models.weights_fingerprint", lambda base: base)
    monkeypatch.setattr(RunRaters, "_first_of_bm25", lambda self, queries: [["d"] for _ in queries])

    def ask(*changed):
        values = {name: f"another {name}" if name in changed else name for name in matters}
        of = lambda name: values.get(name, name)  # noqa: E731
        settings = {"train": {"base": of("base"), "epochs": of("train")}, "distill": {"epochs": of("distill")}}
        run: Any = SimpleNamespace(
            seed=of("seed"),
            settings={**settings, "mine": {"n_ways": of("n_ways")}, "sample": {"near_duplicates": of("near")}},
            input=SimpleNamespace(corpus=SimpleNamespace(fingerprint=of("corpus"))),
            store=SimpleNamespace(scores=nullcontext),
        )
        indexed: Any = SimpleNamespace(fingerprint=of("index"), manifest={"inputs": {}})
        sampled: Any = SimpleNamespace(splits={"d": of("split") if "split" in changed else "train"})
        queries = [SyntheticQuery("q", of("query"), of("doc_id"), -1.0)]
        raters = RunRaters(run, indexed, sampled, tmp_path, lambda *_: None)
        return raters.consistency_ranks(queries) if kind[0] == "c" else raters._trained_ranks(queries, of("depth"))

    for changed in ((), (), *((name,) for name in matters)):
        assert ask(*changed) == [1.0]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 1 + len(matters)


def test_negatives_that_check_consistency_follow_from_seed_and_id_and_can_contrast():
    def drawn(name, seed):
        query, doc_ids = SyntheticQuery(name, "?", "d7", 0.0), [f"d{n}" for n in range(30)]
        return consistency._example(query, doc_ids, lambda _, doc_id: int(doc_id[1:]) % 2 == 1, 8, seed).doc_ids

    by_draw = {(name, seed): drawn(name, seed) for name in "qr" for seed in (0, 1)}
    assert all(ids[0] == "d7" and len({*ids}) == 8 for ids in by_draw.values())
    assert {int(doc_id[1:]) % 2 for ids in by_draw.values() for doc_id in ids} == {1}
    assert (len({*by_draw.values()}), drawn("q", 1)) == (4, by_draw["q", 1])


@pytest.mark.parametrize(("in_train", "expected"), [(0, 3), (2, 2)])
def test_a_reranker_that_checks_consistency_learns_from_examples_as_wide_as_the_others(
    in_train, expected, copied, corpus, run_adapt, monkeypatch
):
    widths = []

    def stop(*_, n_ways, **__):
        widths.append(n_ways)
        raise KeyboardInterrupt

    monkeypatch.setattr("acclimate.learn.rerankers.consistency.trained_reranker", stop)
    changes = ("filter.filters=consistency", "mine.n_ways=3", f"train.n_ways={in_train}")
    assert run_adapt(corpus, copied, changes=changes) == 130
    assert widths == [expected]


@given(st.lists(st.floats(-9, 0), min_size=1, max_size=40), st.integers(0, 100))
def test_a_percentile_drops_that_share_at_most_and_only_the_lowest(logprobs, least):
    queries = queries_of(*(f"query {at}" for at in range(len(logprobs))), logprobs=logprobs)
    selection = filter_queries(queries, NOTHING, filters=("percentile",), min_percentile=least)
    dropped = {row["query_id"] for row in selection.judged if row["reason"]}
    assert len(dropped) <= len(queries) * least / 100
    assert selection.queries
    lowest = min(query.logprob for query in selection.queries)
    assert all(query.logprob < lowest for query in queries if query.query_id in dropped)


@pytest.mark.parametrize(("least", "n_dropped"), [(25, 2), (50, 4), (100, 7), (0, 0)])
def test_a_percentile_drops_its_share_and_what_has_no_score(least, n_dropped):
    queries = queries_of(*(f"query {at}" for at in range(9)), logprobs=[*map(float, range(-8, 0)), math.nan])
    selection = filter_queries(queries, NOTHING, filters=("percentile",), min_percentile=least)
    assert [query.logprob for query in selection.queries] == [*map(float, range(n_dropped - 8, 0))]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"filters": ("logprob",), "keep_top_k": 2}, "no query has a logprob"),
        ({"filters": ("percentile",)}, "no query has one"),
    ],
)
def test_where_no_query_has_a_score_none_is_chosen_by_it(settings, said):
    queries = queries_of("one", "two", "three", logprobs=[math.nan] * 3)
    with pytest.raises(SettingError, match=said):
        filter_queries(queries, NOTHING, **settings)


def test_an_answer_that_is_no_grade_is_a_counted_drop():
    queries = queries_of("two", "one", "unreadable")
    raters = Told(grades={"two": 2.0, "one": 1.0})
    selection = filter_queries(queries, raters, filters=("judge",), min_grade=2)
    assert [query.text for query in selection.queries] == ["two"]
    assert selection.dropped == {"judge": 2}
    assert [row["grade"] for row in selection.judged] == [2, 1, None]


@pytest.mark.parametrize(
    ("answer", "grade"),
    [("Grade: **3**", 3), ("**Grade:** 3", 3), ("Score: 3", 3), ("(3)", 3), ("3 (fully)", 3), ("2-3", None),
     ("3 (not 2)", None), ("3", 3), (" 2.", 2), ("Grade: 1", 1), ("**0**", 0), ("2/3", 2), ("4", None),
     ("2.5", None), ("2 or 3", None), ("## Final score: 0", 0), ('{"relevance": "3"}', 3), ("<grade>2.0</grade>", 2),
     ("\\boxed{１}", 1), ("0-3", None), ("1. 0", None), ("M: 2", None), ("-1", None), ("", None), ("3 because", None)],
)  # fmt: skip
def test_grades_are_read_strictly(answer, grade):
    read = read_grade(answer)
    assert math.isnan(read) if grade is None else read == grade


def test_filters_ask_about_what_is_left_and_once(tmp_path):
    queries = queries_of("one tide", "one tide", "other thing")
    raters = Told({"one tide": {"d": 1.0}})
    filter_queries(queries, raters, filters=("duplicates", "round-trip", "round-trip"))
    assert raters.asked == [("hybrid", ["q0", "q2"])]


def test_a_batch_of_pairs_is_rated_once_and_survives(tmp_path):
    asked = []

    def rate(text, doc_id):
        asked.append((text, doc_id))
        return len(text) / 3 + len(doc_id)

    pairs = [(Query(f"q{n}", "w" * n), "d" * m) for n in range(5) for m in range(1, 4)]
    with ValueCache(tmp_path / "scores.sqlite") as store:
        first = CachedScorer(FakeScorer(rate), store, "corpus").score(pairs)
    assert first == pytest.approx([rate(query.text, doc_id) for query, doc_id in pairs])
    asked.clear()
    with ValueCache(tmp_path / "scores.sqlite") as store:
        kept = CachedScorer(FakeScorer(rate), store, "corpus")
        assert kept.score(pairs) == first  # to the last bit of float32
        renamed = [(query._replace(query_id=f"other-{query.query_id}"), doc_id) for query, doc_id in pairs]
        assert kept.score(renamed) == first  # a score is of texts
        assert not asked
        for other in (
            lambda: kept.score(pairs[1:]),
            lambda: CachedScorer(FakeScorer(rate, "another"), store, "corpus").score(pairs),
            lambda: CachedScorer(FakeScorer(rate), store, "other documents").score(pairs),
        ):
            other()
            assert asked
            asked.clear()


def test_queries_without_a_readable_grade_are_counted_apart(caplog):
    raters = Told(grades={"one": 3.0, "three": 0.0})
    with caplog.at_level("INFO", logger="acclimate"):
        selection = filter_queries(queries_of("one", "two", "three"), raters, filters=("judge",), llm="model")
    assert [query.text for query in selection.queries] == ["one"]
    assert "model gave no readable grade to 1 of 3 queries, which are dropped" in caplog.text


def test_an_llm_that_cannot_grade_is_no_judge():
    with pytest.raises(SettingError, match="no readable grade"):
        filter_queries(queries_of("one", "two"), NOTHING, filters=("judge",))


@pytest.mark.usefixtures("fake_llm")
def test_a_reranker_that_learned_from_the_queries_must_rank_their_sources_high(copied, corpus, run_adapt, monkeypatch):
    stages, filters = set(), ("duplicates", "consistency")

    def left(k):
        acclimate.filter(copied, filters=filters, consistency_k=k, progress=lambda stage, *_: stages.add(stage))
        rows = [json.loads(line) for line in (copied / "filter" / "scores.jsonl").read_text().splitlines()]
        return {row["query_id"]: row["consistency_rank"] for row in rows if row["reason"] is None}, rows

    def refuse(*_, **__):
        raise AssertionError("trained again")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("acclimate.stages.raters._rank_by", interrupt)
        left(2)
    with monkeypatch.context() as patch:  # what was interrupted once it was trained is trained no more
        patch.setattr("acclimate.learn.rerankers.training.train_reranker", refuse)
        kept, rows = left(2)
    assert "train" not in stages
    assert all(rank <= 2 for rank in kept.values())
    assert {row["reason"] for row in rows if (row["consistency_rank"] or 99) > 2} == {"consistency"}
    assert not (copied / "filter" / "trained").exists()
    monkeypatch.setattr("acclimate.learn.rerankers.consistency.train_rerankers", refuse)
    again, others = left(1)
    assert [row["consistency_rank"] for row in others] == [row["consistency_rank"] for row in rows]
    assert 0 < len(again) < len(kept)
    with pytest.raises(AssertionError, match="trained again"):
        run_adapt(corpus, copied, changes=("filter.filters=duplicates,consistency", "train.learning_rate=1e-3"))
