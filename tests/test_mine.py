"""Hard negatives: never the positive nor its like, and every query's own whatever stands around it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.errors import SettingError
from acclimate.records import Doc, ScoredDoc, SyntheticQuery
from acclimate.stages.mine import are_siblings, mine

CORPUS = {f"d{n:03}": Doc(f"d{n:03}", f"text number {n}") for n in range(60)}
QUERIES = [SyntheticQuery(f"q{n}", f"query {n}", f"d{n:03}", -1.0) for n in range(8)]


def hits_of(query, count, top=10.0):
    """`count` hits: documents from the query's own on, one point less each."""
    start = int(query.doc_id[1:])
    return [ScoredDoc(query.query_id, f"d{(start + at) % 60:03}", top - at / 10) for at in range(count)]


RUN = [hit for query in QUERIES for hit in hits_of(query, 40)]


def negatives(mined):
    return {example.query_id: example.doc_ids[1:] for example in mined.examples}


@given(
    st.integers(0, 60), st.integers(2, 12), st.integers(0, 9), st.integers(1, 60), st.sampled_from(["top", "random"])
)
def test_no_example_has_its_positive_among_its_negatives(n_hits, n_ways, skip_top, depth, sampling):
    run = [hit for query in QUERIES for hit in hits_of(query, n_hits)]
    mined = mine(QUERIES, run, CORPUS, n_ways=n_ways, skip_top=skip_top, depth=depth, sampling=sampling)
    assert len(mined.examples) + mined.dropped["no negatives"] == len(QUERIES)
    for query, example in zip(QUERIES, mined.examples, strict=False):
        assert example.query_id == query.query_id
        assert example.doc_ids[0] == query.doc_id
        assert query.doc_id not in example.doc_ids[1:]
        assert len(set(example.doc_ids)) == len(example.doc_ids) <= n_ways
        assert set(example.doc_ids) <= CORPUS.keys()


def test_an_example_is_filled_to_its_width_where_the_corpus_has_enough():
    mined = mine(QUERIES, RUN, CORPUS, n_ways=8)
    assert {len(example.doc_ids) for example in mined.examples} == {8}
    assert mined.filled == 0
    few = mine(QUERIES, [hit for q in QUERIES for hit in hits_of(q, 3)], CORPUS, n_ways=8, max_share=1.0)
    assert {len(example.doc_ids) for example in few.examples} == {8}
    assert few.filled == 5 * len(QUERIES)
    found = [{hit.doc_id for hit in hits_of(query, 3)} - {query.doc_id} for query in QUERIES]
    assert all(own <= set(of) for own, of in zip(found, negatives(few).values(), strict=True))


def test_a_query_without_hits_gets_documents_at_random():
    mined = mine(QUERIES, [], CORPUS, n_ways=4)
    assert {len(of) for of in negatives(mined).values()} == {3}
    assert len(set(negatives(mined).values())) == len(QUERIES)
    assert mined.filled == 3 * len(QUERIES)


def test_a_corpus_of_one_document_has_no_example():
    mined = mine(QUERIES[:1], [], {"d000": CORPUS["d000"]})
    assert (mined.examples, mined.dropped["no negatives"]) == ([], 1)


def test_duplicates_and_siblings_of_the_source_are_never_negatives():
    corpus = {
        **{f"a#{n}": Doc(f"a#{n}", f"passage {n}") for n in range(5)},
        **{f"copy{n}": Doc(f"copy{n}", " PASSAGE  0") for n in range(5)},
        "other": Doc("other", "other"),
    }
    query = SyntheticQuery("q", "x", "a#0", -1.0)
    for run in ([], [ScoredDoc("q", doc_id, 9.0 - at) for at, doc_id in enumerate(sorted(corpus))]):
        mined = mine([query], run, corpus, n_ways=8, max_share=1.0)
        assert negatives(mined) == {"q": ("other",)}
    assert (mined.dropped["sibling"], mined.dropped["duplicate"]) == (4, 5)


@pytest.mark.parametrize(
    ("one", "other", "siblings"),
    [
        ("a#1", "a#2", True),
        ("a#b#1", "a#b#2", True),
        ("a#b#1", "a#c#1", False),
        ("a", "a#1", False),
        ("a", "b", False),
        ("#1", "#2", True),
        ("1", "2", False),
    ],
)
def test_siblings(one, other, siblings):
    assert are_siblings(one, other) == are_siblings(other, one) == siblings


def test_what_scores_near_the_positive_is_passed_over():
    query = QUERIES[0]
    scores = {"d000": 10.0, "d001": 12.0, "d002": 9.6, "d003": 9.5, "d004": 5.0}
    run = [ScoredDoc(query.query_id, doc_id, s) for doc_id, s in sorted(scores.items(), key=lambda item: -item[1])]
    mined = mine([query], run, CORPUS, n_ways=3, max_share=0.95, sampling="top")
    assert negatives(mined) == {"q0": ("d003", "d004")}
    assert mined.dropped["near the positive"] == 2


@pytest.mark.parametrize("share", [1.0, 5.0])
def test_a_share_of_one_or_more_passes_over_nothing(share):
    query = QUERIES[0]
    run = [ScoredDoc(query.query_id, "d001", 12.0), *hits_of(query, 1), *hits_of(query, 4)[2:]]
    mined = mine([query], run, CORPUS, n_ways=4, max_share=share, sampling="top")
    assert negatives(mined)["q0"][0] == "d001"
    assert mined.dropped["near the positive"] == 0


@given(st.randoms(), st.integers(1, 8), st.sampled_from([2, 40]))  # with 2 hits, examples are filled up at random
def test_what_a_query_gets_depends_on_it_alone(rng, how_many, n_hits):
    whole = negatives(mine(QUERIES, [hit for q in QUERIES for hit in hits_of(q, n_hits)], CORPUS, n_ways=5))
    some = rng.sample(QUERIES, how_many)
    run = [hit for query in some for hit in hits_of(query, n_hits)]
    shuffled_corpus = dict(rng.sample(sorted(CORPUS.items()), len(CORPUS)))
    mined = mine(some, run, shuffled_corpus, n_ways=5)
    assert [example.query_id for example in mined.examples] == [query.query_id for query in some]
    assert negatives(mined) == {query.query_id: whole[query.query_id] for query in some}


def test_every_setting_changes_something():
    base = {"n_ways": 5, "skip_top": 0, "depth": 30, "max_share": 0.95, "sampling": "random", "seed": 0}
    made = [negatives(mine(QUERIES, RUN, CORPUS, **base))]
    for name, value in [
        ("n_ways", 4), ("skip_top", 10), ("depth", 12), ("max_share", 0.8), ("sampling", "top"), ("seed", 1),
    ]:  # fmt: skip
        made.append(negatives(mine(QUERIES, RUN, CORPUS, **{**base, name: value})))
        assert made[-1] != made[0], name


def test_depth_and_skip_top_bound_where_negatives_come_from():
    mined = mine(QUERIES[:1], hits_of(QUERIES[0], 40), CORPUS, n_ways=4, skip_top=10, depth=13, sampling="top")
    assert negatives(mined) == {"q0": ("d010", "d011", "d012")}
    assert mined.filled == 0


def test_what_cannot_be_is_refused():
    with pytest.raises(SettingError, match="Did you mean 'random'"):
        mine([], [], CORPUS, sampling="randm")
    with pytest.raises(SettingError, match="n_ways is 1; expected a whole number: 2 to"):
        mine([], [], CORPUS, n_ways=1)
