"""Where fewer than all queries are used, they are drawn: by seed and id, whatever the order, never the first ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.base.draw import draw, subset, uniform
from acclimate.learn.rerankers.groups import Group
from acclimate.learn.rerankers.train_all import _limited
from acclimate.records import NWay, PromptExample, Query
from acclimate.stages.sample import draw_examples

IDS = st.lists(st.text(min_size=1), unique=True)


@given(IDS, st.integers(0, 20), st.integers(0, 20), st.integers(0, 9), st.randoms())
def test_fewer_are_among_more_and_the_order_does_not_matter(ids, one, other, seed, rng):
    queries = [Query(query_id, "text") for query_id in ids]
    few, more = (subset(queries, count, seed) for count in sorted((one, other)))
    assert few == more[: len(few)]
    assert len(more) == min(max(one, other), len(ids))
    assert subset(rng.sample(queries, len(queries)), other, seed) == subset(queries, other, seed)


def test_each_seed_draws_others_and_none_the_first():
    queries = [Query(f"{number:03}", "text") for number in range(200)]
    found = [frozenset(query.query_id for query in subset(queries, 20, seed)) for seed in range(20)]
    assert len(set(found)) == 20
    assert len(frozenset.union(*found)) > 150
    assert all(len(one & {f"{number:03}" for number in range(20)}) < 10 for one in found)


def test_rerankers_learn_from_queries_that_are_drawn():
    examples = [NWay(f"{number:02}", ("a", "b", "c")) for number in range(40)]
    found = [_limited(Group("reranker", examples, examples[:3]), 2, 10, seed) for seed in (0, 1)]
    ids = [[one.query_id for one in group.examples] for group in found]
    assert ids[0] == sorted(ids[0]) and ids[0] != ids[1]
    assert ids[0] != [f"{number:02}" for number in range(10)]
    assert all(len(group.dev) == 3 and group.examples[0].doc_ids == ("a", "b") for group in found)


def test_a_draw_is_the_same_in_every_version_and_of_its_parts_alone():
    assert draw(0, "sample", "d1") == 14447469693948218622
    assert len({draw("a", "bc"), draw("ab", "c"), draw("abc")}) == 3
    assert sum(uniform(seed, "q") for seed in range(1000)) / 1000 == pytest.approx(0.5, abs=0.04)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("cxyz")), unique=True, max_size=9),
    st.integers(0, 4),
    st.randoms(),
)
def test_examples_of_prompts_share_no_text_and_are_as_many_as_there_are(pairs, n_examples, rng):
    examples = [PromptExample(query, doc, f"text {query}", f"text {doc}") for query, doc in pairs]
    every = draw_examples(examples, 9, seed=1)
    assert draw_examples(rng.sample(examples, len(examples)), n_examples, seed=1) == every[:n_examples]
    texts = [text for one in every for text in {one.query, one.document}]
    assert len(set(texts)) == len(texts)
    assert all({one.query, one.document} & {*texts} for one in examples)  # no other could be added
