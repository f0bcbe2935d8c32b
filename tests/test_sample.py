"""Sampling: what happens to a document depends on nothing but the seed, its id and its text."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from acclimate.base.errors import SettingError
from acclimate.base.words import normalized_key
from acclimate.records import Doc, PromptExample
from acclimate.stages.sample import METHODS, sample

LONG = [
    Doc(f"d{n}", f"the text number {n} is long enough to be asked about, eighty characters or a few more of them")
    for n in range(3000)
]


def by_id(docs):
    return {doc.doc_id: doc for doc in docs}


def vectors_of(docs):
    """One of unit length for each doc, drawn by its id."""
    drawn = [np.random.default_rng(list(doc.doc_id.encode())).normal(size=4) for doc in docs]
    return lambda: np.array([vector / np.linalg.norm(vector) for vector in drawn], dtype=np.float32)


def planted(big: int, small: int):
    """Two clusters, and their vectors."""
    directions = np.eye(8)[[0] * big + [1] * small] + np.random.default_rng(0).normal(scale=0.05, size=(big + small, 8))
    unit = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    docs = [LONG[n]._replace(doc_id=f"{'big' if n < big else 'small'}{n}") for n in range(big + small)]
    return docs, lambda: unit


small_corpora = st.lists(
    st.builds(
        Doc, st.text("abc01#/", min_size=1, max_size=4), st.text("xy Z\t", max_size=9), st.sampled_from(["", "T"])
    ),
    unique_by=lambda doc: doc.doc_id,
    max_size=12,
)


@tries(max_examples=50)
@given(small_corpora, st.sampled_from(["uniform", "diverse"]), st.integers(0, 9), st.integers(0, 2), st.randoms())
def test_the_order_of_the_corpus_cannot_matter(docs, method, seed, max_per_source, rng):
    settings = {"n_docs": 5, "min_chars": 3, "dev_share": 0.3, "method": method, "max_per_source": max_per_source}
    shuffled = docs[:]
    rng.shuffle(shuffled)
    in_order, in_another = (
        sample(by_id(d), 0.2, vectors=vectors_of(d), seed=seed, **settings) for d in (docs, shuffled)
    )
    assert list(in_order.splits.items()) == list(in_another.splits.items())
    assert in_order.dropped == in_another.dropped


@tries(max_examples=50)
@given(
    small_corpora,
    st.sampled_from(METHODS),
    st.integers(1, 14),
    st.integers(0, 4),
    st.integers(0, 2),
    st.sampled_from([0.5, 1.0]),
)
def test_every_document_is_drawn_or_counted(docs, method, n_docs, min_chars, max_per_source, near_duplicates):
    settings = {"method": method, "n_docs": n_docs, "min_chars": min_chars, "near_duplicates": near_duplicates}
    drawn = sample(by_id(docs), vectors=vectors_of(docs), max_per_source=max_per_source, **settings)
    assert len(drawn.splits) + sum(drawn.dropped.values()) == len(docs)
    assert min(drawn.dropped.values()) >= 0
    assert len(drawn.splits) <= n_docs
    assert drawn.splits.keys() <= by_id(docs).keys()
    texts = [normalized_key(by_id(docs)[doc_id].default_text()) for doc_id in drawn.splits]
    assert len(texts) == len(set(texts))
    assert all(len(by_id(docs)[doc_id].default_text()) >= min_chars for doc_id in drawn.splits)
    if max_per_source:
        folders = Counter(doc_id.rpartition("/")[0] or doc_id for doc_id in drawn.splits)
        assert max(folders.values(), default=0) <= max_per_source
    if len(drawn.splits) < n_docs:
        assert drawn.dropped["not drawn"] == 0


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
    counts = Counter(sample(by_id(LONG), 0.2, n_docs=n_docs, dev_share=0.15, near_duplicates=1).splits.values())
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
    drawn = sample(by_id(copies), near_duplicates=1)
    assert sorted(drawn.splits) == ["a", "b"]
    assert {reason: count for reason, count in drawn.dropped.items() if count} == {"duplicate": 2}


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


# Small corpora


@given(st.integers(0, 1000), st.integers(4, 40), st.sampled_from([0.05, 0.15, 0.3, 0.6]), st.sampled_from([0.0, 0.2]))
def test_no_side_of_a_small_corpus_is_left_without(seed, count, dev_share, test_share):
    drawn = sample(by_id(LONG[:count]), test_share, dev_share=dev_share, near_duplicates=1, seed=seed)
    sides = Counter(drawn.splits.values())
    assert set(sides) == {"train", "dev", *(["test"] if test_share else [])}
    assert min(sides.values()) >= min(2, count // 4)
    shuffled = sample(by_id(LONG[:count][::-1]), test_share, dev_share=dev_share, near_duplicates=1, seed=seed)
    assert list(shuffled.splits.items()) == list(drawn.splits.items())


def test_sixty_chinese_characters_are_not_short():
    texts = {"zh": "火山喷发时熔岩从地壳下涌出并形成灰云，" * 3, "en": "A short one."}
    drawn = sample({key: Doc(key, text) for key, text in texts.items()})
    assert list(drawn.splits) == ["zh"]
    assert drawn.dropped["short"] == 1


# Diverse


@pytest.mark.parametrize("n_docs", [2, 10, 50])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clusters_are_drawn_from_by_their_size_and_none_is_left_out(n_docs, seed):
    docs, vectors = planted(900, 100)
    drawn = sample(by_id(docs), vectors=vectors, method="diverse", n_clusters=2, n_docs=n_docs, seed=seed)
    counts = Counter(doc_id.rstrip("0123456789") for doc_id in drawn.splits)
    assert counts["small"] == max(1, n_docs // 10)
    assert counts["big"] == n_docs - counts["small"]


def test_a_cluster_of_near_duplicates_is_no_reason_to_draw_fewer():
    docs, vectors = planted(90, 10)
    docs = [doc if doc.doc_id.startswith("big") else doc._replace(text=LONG[95].text + " again" * n)
            for n, doc in enumerate(docs)]  # fmt: skip
    settings = {"method": "diverse", "n_clusters": 2, "n_docs": 50, "near_duplicates": 0.8}
    drawn = sample(by_id(docs), vectors=vectors, **settings)
    assert sum(doc_id.startswith("small") for doc_id in drawn.splits) == 1
    assert len(drawn.splits) == 50
    assert drawn.dropped["near duplicate"] > 0


def test_a_diverse_draw_leaves_no_document_as_far_from_a_drawn_one():
    """The mean distance to the nearest drawn document: that is what it is for."""
    rng = np.random.default_rng(0)
    where = rng.normal(size=(40, 16))[rng.zipf(1.6, size=1000) % 40] + rng.normal(scale=0.2, size=(1000, 16))
    unit = (where / np.linalg.norm(where, axis=1, keepdims=True)).astype(np.float32)
    docs = LONG[:1000]

    def distance(method, seed):
        drawn = sample(by_id(docs), vectors=lambda: unit, method=method, n_clusters=20, n_docs=40, seed=seed)
        rows = [int(doc_id[1:]) for doc_id in drawn.splits]
        return 1 - float((unit @ unit[rows].T).max(axis=1).mean())

    assert all(distance("diverse", seed) < distance("uniform", seed) for seed in range(5))


def unit_of(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_near_documents_of_a_cluster_are_likelier_and_others_are_drawn_too():
    """DUQGen: the softmax of closeness to the centroid at temperature 1, which differs by little over cosines."""
    vectors = unit_of(np.eye(1, 12) + np.random.default_rng(0).normal(scale=0.3, size=(200, 12)))
    center = vectors.mean(axis=0)
    closeness = vectors @ center / np.linalg.norm(center)
    settings = {"method": "diverse", "n_clusters": 1, "n_docs": 1, "windows": 0}
    drawn = [
        int(next(iter(sample(by_id(LONG[:200]), vectors=lambda: vectors, seed=seed, **settings).splits))[1:])
        for seed in range(30)
    ]
    assert len(set(drawn)) > 10
    assert closeness[drawn].mean() > np.quantile(closeness, 0.75)


def test_the_next_document_of_a_cluster_is_unlike_those_drawn_before():
    """Maximal marginal relevance: of two sides of one cluster, the nearer one does not give both documents."""
    sides = np.eye(2, 12)[[0] * 60 + [1] * 40] + np.random.default_rng(0).normal(scale=0.02, size=(100, 12))
    settings = {"method": "diverse", "n_clusters": 1, "n_docs": 2, "windows": 0}
    for seed in range(10):
        drawn = sample(by_id(LONG[:100]), vectors=lambda: unit_of(sides), seed=seed, **settings)
        assert len({int(doc_id[1:]) < 60 for doc_id in drawn.splits}) == 2


def test_a_copy_of_an_example_s_document_gets_no_query():
    shown = PromptExample("q", "d0", "a query", LONG[0].text)
    corpus = by_id([*LONG[:5], LONG[0]._replace(doc_id="copy", text=LONG[0].text.upper())])
    drawn = sample(corpus, pairs=lambda source: [shown], examples="file", dev_share=0)
    assert set(drawn.splits) == {"d1", "d2", "d3", "d4"}
    assert drawn.dropped["example of a prompt"] == 2


def test_a_diverse_draw_follows_from_its_seed():
    docs, vectors = planted(150, 50)
    draws = [
        list(sample(by_id(docs), vectors=vectors, method="diverse", n_docs=20, seed=seed).splits) for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_what_is_held_out_does_not_depend_on_how_documents_are_drawn():
    docs, vectors = planted(150, 50)
    draws = [sample(by_id(docs), 0.2, vectors=vectors, n_docs=120, method=method).splits for method in METHODS]
    drawn_by_all = set(draws[0]).intersection(*draws)
    assert len(drawn_by_all) > 20
    assert all(len({splits[doc_id] for splits in draws}) == 1 for doc_id in drawn_by_all)


def test_vectors_are_asked_for_only_when_they_are_needed():
    def vectors():
        raise AssertionError("asked for vectors")

    assert len(sample(by_id(LONG), vectors=vectors, n_docs=5).splits) == 5
    assert len(sample(by_id(LONG[:5]), vectors=vectors, method="diverse").splits) == 5  # all of them: no choice
    with pytest.raises(SettingError, match="needs vectors"):
        sample(by_id(LONG), n_docs=5, method="diverse")


def test_equal_vectors_are_no_trouble():
    same = np.tile(np.array([[0.6, 0.8]], dtype=np.float32), (60, 1))
    drawn = sample(by_id(LONG[:60]), vectors=lambda: same, method="diverse", n_clusters=7, n_docs=30)
    assert len(drawn.splits) == 30


def test_an_unknown_method_is_refused_with_the_ones_there_are():
    with pytest.raises(SettingError, match="uniform"):
        sample(by_id(LONG[:3]), method="divers")
    with pytest.raises(SettingError, match="n_clusters is -1"):
        sample(by_id(LONG[:3]), n_clusters=-1)
