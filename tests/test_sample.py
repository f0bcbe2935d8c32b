"""Sampling: what happens to a document depends on nothing but the seed, its id and its text."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.records import Doc
from acclimate.stages.sample import sample, text_key

LONG = [
    Doc(f"d{n}", f"the text number {n} is long enough to be asked about, eighty characters or a few more of them")
    for n in range(3000)
]


def by_id(docs):
    return {doc.doc_id: doc for doc in docs}


small_corpora = st.lists(
    st.builds(
        Doc, st.text("abc01#/", min_size=1, max_size=4), st.text("xy Z\t", max_size=9), st.sampled_from(["", "T"])
    ),
    unique_by=lambda doc: doc.doc_id,
    max_size=12,
)


@given(small_corpora, st.integers(0, 9), st.randoms())
def test_the_order_of_the_corpus_cannot_matter(docs, seed, rng):
    settings = {"n_docs": 5, "min_chars": 3, "dev_share": 0.3, "seed": seed}
    shuffled = docs[:]
    rng.shuffle(shuffled)
    one, other = sample(by_id(docs), 0.2, **settings), sample(by_id(shuffled), 0.2, **settings)
    assert list(one.splits.items()) == list(other.splits.items())
    assert one.dropped == other.dropped


@given(small_corpora, st.integers(0, 14), st.integers(0, 4))
def test_every_document_is_drawn_or_counted(docs, n_docs, min_chars):
    drawn = sample(by_id(docs), n_docs=n_docs, min_chars=min_chars)
    assert len(drawn.splits) + sum(drawn.dropped.values()) == len(docs)
    assert len(drawn.splits) <= n_docs
    assert drawn.splits.keys() <= by_id(docs).keys()
    texts = [text_key(by_id(docs)[doc_id]) for doc_id in drawn.splits]
    assert len(texts) == len(set(texts))
    assert all(len(by_id(docs)[doc_id].default_text()) >= min_chars for doc_id in drawn.splits)


def test_an_added_document_changes_no_others_side():
    before = sample(by_id(LONG[:200]), 0.2, n_docs=10_000).splits
    after = sample(by_id(LONG[:201]), 0.2, n_docs=10_000).splits
    assert {doc_id: after[doc_id] for doc_id in before} == before
    assert len(after) == 201


def test_an_added_document_takes_the_place_of_one_at_most():
    before = sample(by_id(LONG[:200]), n_docs=50).splits
    after = sample(by_id(LONG[:201]), n_docs=50).splits
    assert len(before) == len(after) == 50
    assert len(before.keys() - after.keys()) <= 1
    assert all(after[doc_id] == before[doc_id] for doc_id in before.keys() & after.keys())


def test_more_documents_only_add_to_fewer():
    few, many = sample(by_id(LONG), n_docs=50).splits, sample(by_id(LONG), n_docs=100).splits
    assert list(many.items())[:50] == list(few.items())


@pytest.mark.parametrize("n_docs", [3000, 1500])
def test_shares_are_about_right(n_docs):
    counts = Counter(sample(by_id(LONG), 0.2, n_docs=n_docs, dev_share=0.15).splits.values())
    assert sum(counts.values()) == n_docs
    # three standard deviations of a share of 1,500 draws are 0.031 at most
    assert counts["dev"] / n_docs == pytest.approx(0.15, abs=0.031)
    assert counts["test"] / n_docs == pytest.approx(0.2, abs=0.031)


def test_without_a_test_share_nothing_is_held_out_to_measure_on():
    assert set(sample(by_id(LONG), n_docs=500).splits.values()) == {"train", "dev"}
    assert set(sample(by_id(LONG), n_docs=500, dev_share=0).splits.values()) == {"train"}


def test_what_is_held_out_to_choose_on_does_not_depend_on_the_test_share():
    without, with_test = (sample(by_id(LONG), share, n_docs=500).splits for share in (0.0, 0.3))
    assert [d for d, side in without.items() if side == "dev"] == [d for d, side in with_test.items() if side == "dev"]


def test_another_seed_draws_others():
    drawn = [set(sample(by_id(LONG), n_docs=300, seed=seed).splits) for seed in (0, 1)]
    assert 5 < len(drawn[0] & drawn[1]) < 70  # 30 are expected by chance


def test_draws_are_uniform_over_the_corpus():
    places = [int(doc_id[1:]) for doc_id in sample(by_id(LONG), n_docs=600).splits]
    assert sum(places) / 600 == pytest.approx(1500, abs=110)  # three standard errors


def test_texts_that_differ_in_case_and_spacing_are_one():
    text = LONG[0].text
    copies = [Doc("z", text), Doc("b", text.upper()), Doc("c", f"  {text.replace(' ', '   ')}\n"), Doc("a", text + "!")]
    random.Random(0).shuffle(copies)
    drawn = sample(by_id(copies))
    assert sorted(drawn.splits) == ["a", "b"]
    assert drawn.dropped == {"short": 0, "duplicate": 2, "example of a prompt": 0, "not drawn": 0}


def test_short_and_blank_documents_are_counted():
    docs = [Doc("a", "x" * 80), Doc("b", "x" * 79), Doc("c", ""), Doc("d", " " * 5), Doc("e", "y" * 78, "T")]
    drawn = sample(by_id(docs))
    assert sorted(drawn.splits) == ["a", "e"]  # a title and a blank count
    assert drawn.dropped["short"] == 3


def test_a_blank_document_is_short_however_long_its_blanks():
    assert sample(by_id([Doc("a", " \n" * 100)])).splits == {}


def test_an_empty_corpus():
    drawn = sample({})
    assert (drawn.splits, drawn.examples, sum(drawn.dropped.values())) == ({}, [], 0)
