"""Filters: every query is kept or has one reason, and what is dropped is what each filter says."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from contextlib import nullcontext
from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import acclimate
from acclimate.base.errors import SettingError
from acclimate.base.testing import FakeRetriever, FakeScorer
from acclimate.corpus.near_duplicates import near_duplicate_queries
from acclimate.records import Doc, SyntheticQuery
from acclimate.run.settings import resolve
from acclimate.search.ranks import source_ranks
from acclimate.stages.chain import STAGES
from acclimate.stages.filter import DEFAULT, NAMES, check, filter_queries
from acclimate.stages.raters import RunRaters, _rank_by


def queries_of(*texts, logprobs=None, doc_id="d"):
    logprobs = logprobs or [-1.0] * len(texts)
    return [
        SyntheticQuery(f"q{at}", text, doc_id, logprob)
        for at, text, logprob in zip(count(), texts, logprobs, strict=False)
    ]


class Told:
    """Raters that say what they are told, and remember who was asked about what."""

    def __init__(self, hits=None, scores=None, grades=None, teacher=None):
        self.retriever, self.teacher = FakeRetriever(hits or {}), FakeRetriever(teacher or {})
        self.scores, self.grades = scores or {}, grades or {}
        self.asked = []

    def ranks(self, retriever, queries, depth):
        self.asked.append((retriever, [query.query_id for query in queries]))
        ranks = source_ranks(queries, self.teacher if retriever == "teacher" else self.retriever, depth=depth)
        return [ranks.get(query.query_id, math.inf) for query in queries]

    def consistency_ranks(self, queries):
        return [float(query.text.count("a") or math.inf) for query in queries]

    def are_copied(self, queries):
        return [float(query.text.startswith("copied")) for query in queries]

    def rerank(self, model, queries, max_tokens):
        self.asked.append((model, [query.query_id for query in queries]))
        return [self.scores.get(query.text, -9.0) for query in queries]

    def grade(self, llm, prompt, queries):
        self.asked.append((prompt, [query.query_id for query in queries]))
        return [self.grades.get(query.text, math.nan) for query in queries]


NOTHING = Told()
word_sets = st.lists(
    st.tuples(st.lists(st.sampled_from("abcdefgh"), max_size=6), st.sampled_from([-1.0, -2.0, -3.0, math.nan])),
    max_size=12,
)


def rank_key(query):
    return (-query.logprob if not math.isnan(query.logprob) else math.inf, query.query_id)


@given(word_sets, st.sampled_from([0.0, 0.1, 0.2, 0.34, 0.5, 0.75, 1.0]))
def test_near_duplicates_are_those_that_comparing_all_with_all_finds(rows, min_difference):
    queries = queries_of(*(" ".join(words) for words, _ in rows), logprobs=[logprob for _, logprob in rows])
    kept, dropped = [], set()
    for query in sorted(queries, key=rank_key):
        words = set(query.text.split())
        is_batch_invariant = any(1 - len(words & other) / len(words | other) < min_difference for other in kept)
        if is_batch_invariant or not words:
            dropped.add(query.query_id)
        else:
            kept.append(words)
    assert near_duplicate_queries(queries, min_difference) == dropped


def test_of_two_duplicates_the_more_confident_stays():
    queries = queries_of("tides of the moon", "Tides of the moon?", "a bee", logprobs=[-2.0, -1.0, -3.0])
    assert near_duplicate_queries(queries, 0.2) == {"q0"}


def test_the_round_trip_keeps_what_finds_its_source_early_enough():
    hits = {
        f"rank {rank}": {**{f"x{n:03}": 9.0 - n / 100 for n in range(rank - 1)}, "d": 1.0} for rank in (1, 3, 4, 100)
    }
    queries = queries_of("rank 1", "rank 3", "rank 4", "rank 100", "never")
    selection = filter_queries(queries, Told(hits), filters=("round-trip",), round_trip_k=3)
    assert [query.text for query in selection.queries] == ["rank 1", "rank 3"]
    assert selection.dropped == {"round-trip": 3}
    assert [row["rank"] for row in selection.judged] == [1, 3, 4, 100, None]
    assert source_ranks(queries, FakeRetriever(hits), depth=3) == {"q0": 1, "q1": 3}
    hits["rank 100"] = {**{f"x{n:03}": 9.0 - n / 100 for n in range(119)}, "d": 1.0}
    assert len(filter_queries(queries, Told(hits), filters=("round-trip",), round_trip_k=120).queries) == 4


def test_two_queries_of_one_text_have_their_own_sources():
    queries = [SyntheticQuery("q0", "same", "a", -1.0), SyntheticQuery("q1", "same", "b", -1.0)]
    assert source_ranks(queries, FakeRetriever({"same": {"a": 2.0, "b": 1.0}}), depth=9) == {"q0": 1, "q1": 2}


@given(st.lists(st.floats(-9, 0) | st.just(math.nan), max_size=9), st.integers(1, 10))
def test_logprob_keeps_the_most_confident_in_the_order_given(logprobs, keep):
    queries = queries_of(*(f"query {at}" for at in range(len(logprobs))), logprobs=logprobs)
    if keep < len(queries) and all(map(math.isnan, logprobs)):  # the best of nothing known would be any
        with pytest.raises(SettingError, match="no query has a logprob"):
            filter_queries(queries, NOTHING, filters=("logprob",), keep_top_k=keep)
        return
    selection = filter_queries(queries, NOTHING, filters=("logprob",), keep_top_k=keep)
    best = sorted(queries, key=rank_key)[:keep]
    assert [query.query_id for query in selection.queries] == [q.query_id for q in queries if q in best]
    assert selection.dropped == {"logprob": max(0, len(queries) - keep)}


@given(word_sets, st.permutations(NAMES), st.integers(0, 3), st.integers(1, 5), st.randoms())
def test_every_query_is_kept_or_dropped_for_one_reason(rows, names, how_many, keep, rng):
    queries = queries_of(*(" ".join(words) for words, _ in rows), logprobs=[logprob for _, logprob in rows])
    raters = Told(
        {query.text: {"d" if "a" in query.text else "e": 1.0} for query in queries},
        {query.text: len(query.text) % 3 for query in queries},
        {query.text: len(query.text) % 4 for query in queries if "b" not in query.text},
        {query.text: {"d" if "c" in query.text else "e": 1.0} for query in queries},
    )
    some = any(not math.isnan(query.logprob) for query in queries)
    filters = tuple(name for name in names if name != "percentile" or some)[:how_many]
    if "percentile" in filters and "logprob" not in filters[: filters.index("percentile")]:
        queries = [query for query in queries if not math.isnan(query.logprob)]
    settings = {"keep_top_k": keep, "reranker": "one", "percentile_of": "logprob", "min_percentile": 40}
    try:
        selection = filter_queries(queries, raters, filters=filters, **settings)
    except SettingError as error:  # nothing is left that a percentile could be of, or that has a grade
        assert "no query has one" in str(error) or "gave no readable grade" in str(error)
        return
    kept = {query.query_id for query in selection.queries}
    assert [row["query_id"] for row in selection.judged] == [query.query_id for query in queries]
    assert {row["query_id"] for row in selection.judged if row["reason"] is None} == kept
    assert Counter(row["reason"] for row in selection.judged if row["reason"]) == Counter(selection.dropped)
    assert list(selection.dropped) == list(filters)
    assert len(kept) + sum(selection.dropped.values()) == len(queries)
    assert [query.query_id for query in selection.queries] == [q.query_id for q in queries if q.query_id in kept]
    for row, query in zip(selection.judged, queries, strict=True):
        assert row["logprob"] == (None if math.isnan(query.logprob) else round(query.logprob, 6))
    shuffled = rng.sample(queries, len(queries))
    assert {q.query_id for q in filter_queries(shuffled, raters, filters=filters, **settings).queries} == kept
    assert [name for name, _ in selection.funnel] == list(filters)
    left = [len(queries), *(count for _, count in selection.funnel)]
    assert [before - after for before, after in itertools.pairwise(left)] == [
        selection.dropped[name] for name in filters
    ]


def test_a_filter_sees_what_the_one_before_it_left():
    queries = queries_of("one tide", "one tide", "other thing", logprobs=[-1.0, -2.0, -3.0])
    assert filter_queries(queries, NOTHING, filters=("duplicates", "logprob"), keep_top_k=2).dropped == {
        "duplicates": 1,
        "logprob": 0,
    }
    assert filter_queries(queries, NOTHING, filters=("logprob", "duplicates"), keep_top_k=2).dropped == {
        "logprob": 1,
        "duplicates": 1,
    }


def test_length_counts_the_tokens_of_the_llm_and_words_where_it_gave_none():
    queries = queries_of("one two three", "one two", "wie geht es dir", "东京在哪里", "?!", "long " * 9)
    queries[1] = queries[1]._replace(log_probs=(-1.0, -0.5, -0.1))
    queries[2] = queries[2]._replace(log_probs=(-1.0, -0.5))
    selection = filter_queries(queries, NOTHING, filters=("length",), min_tokens=3, max_tokens=8)
    assert [query.query_id for query in selection.queries] == ["q0", "q1", "q3"]
    assert [row["tokens"] for row in selection.judged] == [3, 3, 2, 5, 0, 9]
    assert selection.dropped == {"length": 3}


def test_what_stands_in_its_document_word_for_word_is_dropped(tmp_path):
    selection = filter_queries(queries_of("copied text", "another"), NOTHING, filters=("copied",))
    assert [row["copied"] for row in selection.judged] == [1, 0]
    assert selection.dropped == {"copied": 1}
    corpus = {"d": Doc("d", "The tide RISES\n twice\ta day; so it falls.", "On Tides")}
    run = SimpleNamespace(input=SimpleNamespace(corpus=corpus))
    raters = RunRaters(run, None, None, tmp_path, lambda done, total: None)
    texts = ["the tide rises twice a day", "On tides The", "tide falls", "the tide rises twice a day?"]
    assert raters.are_copied(queries_of(*texts)) == [1, 1, 0, 0]


@pytest.mark.parametrize("name", DEFAULT)
def test_each_filter_can_be_left_out(name):
    queries = queries_of("one tide", "one tide", "other thing")
    dropped = filter_queries(queries, NOTHING, filters=(name,), keep_top_k=2).dropped
    assert dropped == {name: {"duplicates": 1, "logprob": 1, "round-trip": 3}[name]}


def test_no_filters_and_no_queries():
    assert filter_queries(queries_of("a b"), NOTHING, filters=()).queries == queries_of("a b")
    nothing = [(name, 0) for name in DEFAULT]
    assert filter_queries([], NOTHING) == ([], dict.fromkeys(DEFAULT, 0), [], nothing)


@pytest.mark.parametrize("settings", [{"filters": ("consistency",)}, {"retriever": "trained"}])
def test_what_one_process_trains_is_refused_to_several_before_work_begins(settings, corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match="needs a single process; start only one"):
        acclimate.plan(corpus, out=tmp_path / "run", filter=settings)


def test_a_retriever_trained_on_a_late_interaction_model_is_refused_where_it_would_be_trained(monkeypatch):
    monkeypatch.setattr("acclimate.base.models.is_late_interaction", lambda folder: True)
    for filters, refused in ((("logprob",), nullcontext()), (DEFAULT, pytest.raises(SettingError, match="a dense"))):
        settings = resolve(STAGES, {}, {"filter": {"filters": filters, "retriever": "trained"}})
        with refused:
            check(SimpleNamespace(settings=settings, llms={}), asks=True)  # type: ignore[arg-type]


def test_what_cannot_be_is_refused():
    with pytest.raises(SettingError, match=r"no filters named 'roundtrip'\. Did you mean 'round-trip'"):
        filter_queries([], NOTHING, filters=("roundtrip",))
    for settings, said in (
        ({"retriever": "hybird"}, "Did you mean 'hybrid'"),
        ({"percentile_of": "rank"}, "no percentile_of named"),
        ({"filters": ("reranker",)}, "filter.reranker names no model"),
        ({"filters": ("percentile",), "percentile_of": "reranker"}, "filter.reranker names no model"),
        ({"min_percentile": 101}, "0 to 100"),
        ({"min_grade": 0}, "1 to 3"),
    ):
        with pytest.raises(SettingError, match=said):
            filter_queries([], NOTHING, **settings)
    for setting in ("round_trip_k", "keep_top_k"):
        with pytest.raises(SettingError, match=f"{setting} is 0; expected a whole number: 1 to"):
            filter_queries([], NOTHING, **{setting: 0})


def test_a_source_that_scores_as_others_do_ranks_by_its_id():
    query = SyntheticQuery("q", "?", "b", -1.0)
    assert [_rank_by(FakeScorer(lambda *_: 1.0), query, ids) for ids in ("bca", "acb", "ac")] == [2, 2, math.inf]
