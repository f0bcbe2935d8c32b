"""Filters: every query is kept or has one reason, and what is dropped is what each filter says."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.errors import SettingError
from acclimate.records import SyntheticQuery
from acclimate.stages.filter import NAMES, filter_queries, near_duplicates, source_ranks
from acclimate.testing import FakeRetriever


def queries_of(*texts, logprobs=None, doc_id="d"):
    logprobs = logprobs or [-1.0] * len(texts)
    return [
        SyntheticQuery(f"q{at}", text, doc_id, logprob)
        for at, text, logprob in zip(count(), texts, logprobs, strict=False)
    ]


NOTHING = FakeRetriever({})
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
        own = set(query.text.split())
        near = any(1 - len(own & other) / len(own | other) < min_difference for other in kept)
        if near or not own:
            dropped.add(query.query_id)
        else:
            kept.append(own)
    assert near_duplicates(queries, min_difference) == dropped


def test_of_two_duplicates_the_more_confident_stays():
    queries = queries_of("tides of the moon", "Tides of the moon?", "a bee", logprobs=[-2.0, -1.0, -3.0])
    assert near_duplicates(queries, 0.2) == {"q0"}


def test_the_round_trip_keeps_what_finds_its_source_early_enough():
    hits = {
        f"rank {rank}": {**{f"x{n:03}": 9.0 - n / 100 for n in range(rank - 1)}, "d": 1.0} for rank in (1, 3, 4, 100)
    }
    queries = queries_of("rank 1", "rank 3", "rank 4", "rank 100", "never")
    found = filter_queries(queries, FakeRetriever(hits), filters=("round-trip",), round_trip_k=3)
    assert [query.text for query in found.queries] == ["rank 1", "rank 3"]
    assert found.dropped == {"round-trip": 3}
    assert [row["rank"] for row in found.judged] == [1, 3, 4, 100, None]
    assert source_ranks(queries, FakeRetriever(hits), depth=3) == {"q0": 1, "q1": 3}


def test_two_queries_of_one_text_have_their_own_sources():
    queries = [SyntheticQuery("q0", "same", "a", -1.0), SyntheticQuery("q1", "same", "b", -1.0)]
    assert source_ranks(queries, FakeRetriever({"same": {"a": 2.0, "b": 1.0}}), depth=9) == {"q0": 1, "q1": 2}


@given(st.lists(st.floats(-9, 0) | st.just(math.nan), max_size=9), st.integers(1, 10))
def test_logprob_keeps_the_most_confident_in_the_order_given(logprobs, keep):
    queries = queries_of(*(f"query {at}" for at in range(len(logprobs))), logprobs=logprobs)
    found = filter_queries(queries, NOTHING, filters=("logprob",), keep_top_k=keep)
    best = sorted(queries, key=rank_key)[:keep]
    assert [query.query_id for query in found.queries] == [q.query_id for q in queries if q in best]
    assert found.dropped == {"logprob": max(0, len(queries) - keep)}


@given(word_sets, st.permutations(NAMES), st.integers(0, 3), st.integers(1, 5), st.randoms())
def test_every_query_is_kept_or_dropped_for_one_reason(rows, names, how_many, keep, rng):
    queries = queries_of(*(" ".join(words) for words, _ in rows), logprobs=[logprob for _, logprob in rows])
    retriever = FakeRetriever({query.text: {"d" if "a" in query.text else "e": 1.0} for query in queries})
    filters = tuple(names[:how_many])
    found = filter_queries(queries, retriever, filters=filters, keep_top_k=keep)
    kept = {query.query_id for query in found.queries}
    assert [row["query_id"] for row in found.judged] == [query.query_id for query in queries]
    assert {row["query_id"] for row in found.judged if row["reason"] is None} == kept
    assert Counter(row["reason"] for row in found.judged if row["reason"]) == Counter(found.dropped)
    assert list(found.dropped) == list(filters)
    assert len(kept) + sum(found.dropped.values()) == len(queries)
    assert [query.query_id for query in found.queries] == [q.query_id for q in queries if q.query_id in kept]
    for row, query in zip(found.judged, queries, strict=True):
        assert row["logprob"] == (None if math.isnan(query.logprob) else round(query.logprob, 6))
    shuffled = rng.sample(queries, len(queries))
    assert {q.query_id for q in filter_queries(shuffled, retriever, filters=filters, keep_top_k=keep).queries} == kept


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


@pytest.mark.parametrize("name", NAMES)
def test_each_filter_can_be_left_out(name):
    queries = queries_of("one tide", "one tide", "other thing")
    dropped = filter_queries(queries, NOTHING, filters=(name,), keep_top_k=2).dropped
    assert dropped == {name: {"duplicates": 1, "logprob": 1, "round-trip": 3}[name]}


def test_no_filters_and_no_queries():
    assert filter_queries(queries_of("a b"), NOTHING, filters=()).queries == queries_of("a b")
    assert filter_queries([], NOTHING) == ([], dict.fromkeys(NAMES, 0), [])


def test_what_cannot_be_is_refused():
    with pytest.raises(SettingError, match=r"no filter named 'roundtrip'\. Did you mean 'round-trip'"):
        filter_queries([], NOTHING, filters=("roundtrip",))
    for setting in ("round_trip_k", "keep_top_k"):
        with pytest.raises(SettingError, match=re.escape("must be 1 or more")):
            filter_queries([], NOTHING, **{setting: 0})
