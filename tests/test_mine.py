"""Hard negatives: never the positive nor its like, and every query's own whatever stands around it."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.base.errors import SettingError
from acclimate.base.testing import DOCS
from acclimate.base.testing import QUERIES as LABELLED
from acclimate.corpus.formats import write_nway
from acclimate.records import Doc, NWay, ScoredDoc, SyntheticQuery
from acclimate.search.bm25 import BM25
from acclimate.search.candidates import hits
from acclimate.search.members import BM25Member, Ids
from acclimate.search.system import System
from acclimate.stages.mine import Mined, mine

CORPUS = {f"d{n:03}": Doc(f"d{n:03}", f"text number {n}") for n in range(60)}
QUERIES = [SyntheticQuery(f"q{n}", f"query {n}", f"d{n:03}", -1.0) for n in range(8)]


def hits_of(query, count, top=10.0):
    """`count` hits: documents from the query's own on, one point less each."""
    start = int(query.doc_id[1:])
    return [ScoredDoc(query.query_id, f"d{(start + at) % 60:03}", top - at / 10) for at in range(count)]


RUN = [hit for query in QUERIES for hit in hits_of(query, 40)]


def by_query(hits):
    return [list(group) for _, group in groupby(hits, key=lambda hit: hit.query_id)]


def negatives(mined):
    return {example.query_id: example.doc_ids[1:] for example in mined.examples}


@given(
    st.integers(0, 60),
    st.integers(2, 12),
    st.integers(0, 9),
    st.integers(1, 60),
    st.sampled_from(["top", "bottom", "random"]),
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
    others = [{hit.doc_id for hit in hits_of(query, 3)} - {query.doc_id} for query in QUERIES]
    assert all(hits <= set(doc_ids) for hits, doc_ids in zip(others, negatives(few).values(), strict=True))
    # Results below the depth are documents like others, unless they score near the source.
    below = mine(QUERIES, RUN, CORPUS, n_ways=8, max_share=1.0, depth=3)
    assert (below.examples, below.filled) == (few.examples, few.filled)
    (query, *_), every = QUERIES, [*CORPUS]
    scores = {
        doc_id: 1.0 - place / 100 for place, doc_id in enumerate(sorted(every, key=lambda id: id != query.doc_id))
    }
    found = [ScoredDoc(query.query_id, doc_id, score) for doc_id, score in scores.items()]
    (example,) = mine([query], found, CORPUS, n_ways=8, max_share=0.9, depth=3).examples
    assert all(scores[doc_id] <= 0.9 for doc_id in example.doc_ids[1:]) and len(example.doc_ids) == 8


def test_a_query_without_hits_gets_documents_at_random():
    mined = mine(QUERIES, [], CORPUS, n_ways=4)
    assert {len(of) for of in negatives(mined).values()} == {3}
    assert len(set(negatives(mined).values())) == len(QUERIES)
    assert mined.filled == 3 * len(QUERIES)


def test_a_corpus_of_one_document_has_no_example():
    mined = mine(QUERIES[:1], [], {"d000": CORPUS["d000"]})
    assert (mined.examples, mined.dropped["no negatives"]) == ([], 1)


SAID = "molten rock below the crust rises and erupts through an opening as lava and ash and gas"
ODD_ONES = {
    "source": "source",
    "a copy": "duplicate",
    "nearly a copy": "duplicate",
    "a sibling": "sibling",
    "of the same query": "answers the same query",
    "of nearly the same": "answers the same query",
    "the query itself": "is the query",
    "the query under a title": "is the query",
}


def odd_corpus():
    return {
        "source": Doc("source", f"{SAID} hot"),
        "a copy": Doc("a copy", f" {SAID.upper()}   HOT"),
        "nearly a copy": Doc("nearly a copy", f"{SAID} cold"),
        "a sibling": Doc("a sibling", "another part of that very book"),
        "of the same query": Doc("of the same query", "some hills throw up melted stone"),
        "of nearly the same": Doc("of nearly the same", "a mountain that may burst"),
        "the query itself": Doc("the query itself", "Why does  LAVA come out of a volcano"),
        "the query under a title": Doc("the query under a title", "why does lava come out of a volcano", "A question"),
        **{f"other{n}": Doc(f"other{n}", f"text number {n}") for n in range(12)},
    }


@given(st.permutations(sorted(odd_corpus())), st.integers(0, 3), st.sampled_from(["top", "random"]), st.booleans())
def test_what_answers_a_query_is_never_its_negative(order, skip_top, sampling, has_hits):
    query = SyntheticQuery("q", "why does lava come out of a volcano", "source", -1.0)
    written = [
        query._replace(query_id="q2", text="Why does lava come out of a volcano?", doc_id="of the same query"),
        query._replace(query_id="q3", text="why does hot lava come out of a volcano", doc_id="of nearly the same"),
        query._replace(query_id="q4", text="what is a mountain", doc_id="other0"),
    ]
    run = [ScoredDoc("q", doc_id, 9.0 - at) for at, doc_id in enumerate(order)] if has_hits else []
    parents = {"source": "book", "a sibling": "book"}
    settings = {"n_ways": 19, "skip_top": skip_top, "sampling": sampling, "max_share": 1.0}
    mined = mine([query], run, odd_corpus(), parents, written, 0.8, **settings)
    assert set(*negatives(mined).values()) == {f"other{n}" for n in range(12)} - {
        doc_id for doc_id in order[:skip_top] if has_hits
    }
    if has_hits and not skip_top:
        counts = Counter(reason for doc_id, reason in ODD_ONES.items() if doc_id != "source")
        assert {reason: count for reason, count in mined.dropped.items() if count} == counts


def test_ids_that_look_like_passages_are_documents_of_their_own():
    corpus = {f"issue#{n}": Doc(f"issue#{n}", f"text number {n}") for n in range(6)}
    query = SyntheticQuery("q", "x", "issue#0", -1.0)
    assert len(*negatives(mine([query], [], corpus, n_ways=6)).values()) == 5
    split = dict.fromkeys(["issue#0", "issue#1", "issue#2"], "issue")
    assert set(*negatives(mine([query], [], corpus, split, n_ways=6)).values()) == {"issue#3", "issue#4", "issue#5"}


def test_queries_of_one_text_are_positives_of_one_another():
    same = [QUERIES[n]._replace(text="how to reset the router") for n in range(3)]
    mined = mine(same, [hit for query in same for hit in hits_of(query, 20)], CORPUS, n_ways=8, max_share=1.0)
    assert all(set(doc_ids).isdisjoint({"d000", "d001", "d002"}) for doc_ids in negatives(mined).values())


@given(st.integers(1, 59), st.floats(-5, 5), st.sampled_from([0.5, 0.95]))
def test_where_the_source_ranks_does_not_decide_whether_what_beats_it_is_passed_over(rank, shift, max_share):
    """Scores of any sign, the source within the depth and behind it."""
    query = SyntheticQuery("q", "x", "d059", -1.0)
    order = [f"d{n:03}" for n in range(59)]
    order.insert(rank, "d059")
    run = [ScoredDoc("q", doc_id, shift - at / 10) for at, doc_id in enumerate(order)]
    mined = mine([query], run, CORPUS, n_ways=60, depth=50, max_share=max_share, sampling="top")
    source_score = shift - rank / 10
    beating = {hit.doc_id for hit in run if hit.score >= source_score}
    assert beating.isdisjoint(set(*negatives(mined).values()))
    assert mined.dropped["near the positive"] >= len(beating) - 1 - max(0, rank - 50)


def test_without_the_score_of_the_source_all_hits_may_be_answers():
    query = QUERIES[0]
    run = hits_of(query, 30)[1:]
    mined = mine([query], run, CORPUS, n_ways=4)
    assert set(*negatives(mined).values()).isdisjoint({hit.doc_id for hit in run})
    assert mined.dropped["near the positive"] == 29


def test_the_source_is_among_the_hits_wherever_it_ranks():
    ids, weights = Ids([doc.doc_id for doc in DOCS]), {"bm25": 1.0}
    members = {"bm25": BM25Member(BM25.build(doc.default_text() for doc in DOCS))}
    system = System(ids, members, ["bm25"], weights, depth=5)
    sources = list(range(len(DOCS)))[::-1]
    with_source = by_query(hits(system.candidates(LABELLED, sources), ids, weights, 3, sources))
    plain = by_query(system.search(LABELLED, 3))
    for source, joined, alone in zip(sources, with_source, plain, strict=True):
        assert joined[: len(alone)] == alone
        expected = dict.fromkeys([*(hit.doc_id for hit in alone), ids.doc_ids[source]])
        assert [hit.doc_id for hit in joined] == [*expected]


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
    first = negatives(mine(QUERIES, RUN, CORPUS, **base))
    for name, value in [
        ("n_ways", 4), ("skip_top", 10), ("depth", 12), ("max_share", 0.8), ("sampling", "top"), ("seed", 1),
    ]:  # fmt: skip
        assert negatives(mine(QUERIES, RUN, CORPUS, **{**base, name: value})) != first, name


def test_depth_and_skip_top_bound_where_negatives_come_from():
    mined = mine(QUERIES[:1], hits_of(QUERIES[0], 40), CORPUS, n_ways=4, skip_top=10, depth=13, sampling="top")
    assert negatives(mined) == {"q0": ("d010", "d011", "d012")}
    assert mined.filled == 0


def test_what_cannot_be_is_refused():
    with pytest.raises(SettingError, match="Did you mean 'random'"):
        mine([], [], CORPUS, sampling="randm")
    with pytest.raises(SettingError, match="n_ways is 0; expected a whole number: 1 to"):
        mine([], [], CORPUS, n_ways=0)


def test_the_bottom_of_the_hits_is_taken_from_the_last_one_up():
    mined = mine(QUERIES[:1], hits_of(QUERIES[0], 40), CORPUS, n_ways=5, depth=20, sampling="bottom")
    assert negatives(mined) == {"q0": ("d019", "d018", "d017", "d016")}


def test_one_way_is_the_source_alone():
    mined = mine(QUERIES, (), CORPUS, n_ways=1)
    assert [example.doc_ids for example in mined.examples] == [(query.doc_id,) for query in QUERIES]
    assert not any(mined.dropped.values())


def test_no_more_than_one_query_s_hits_are_held_and_only_as_many_are_looked_at_as_it_takes():
    looked_at = Counter()

    class Watched(dict):
        def __getitem__(self, doc_id):
            looked_at[doc_id] += 1
            return super().__getitem__(doc_id)

    live, most = [0], [0]

    class Hit(ScoredDoc):
        def __new__(cls, *values):
            live[0] += 1
            most[0] = max(most[0], live[0])
            return super().__new__(cls, *values)

        def __del__(self):
            live[0] -= 1

    run = (Hit(*hit) for query in QUERIES for hit in hits_of(query, 60))
    mined = mine(QUERIES, run, Watched(CORPUS), n_ways=2, depth=60, max_share=1.0)
    assert len(mined.examples) == len(QUERIES)
    assert most[0] <= 2 * 60 + 1
    assert sum(looked_at.values()) < 10 * len(QUERIES)


def test_mined_examples_are_on_the_side_of_their_query(tmp_path):
    examples = [NWay(query.query_id, (query.doc_id, "a")) for query in QUERIES]
    write_nway(tmp_path / "examples.jsonl", examples)
    sides = Mined(tmp_path, {}, resumed=False).sides({"test": [QUERIES[5]], "train": QUERIES[2:5][::-1], "dev": []})
    assert sides == {"test": examples[5:6], "train": examples[2:5], "dev": []}  # others belong to dropped queries


def test_a_run_without_negatives_names_the_settings_that_give_some(corpus, run_adapt, tmp_path, fake_llm, capsys):
    changes = ("mine.retriever=dense", "mine.max_share=1e-6", "mine.depth=1000")  # every result is near the source
    assert run_adapt(corpus, tmp_path / "run", changes=changes) == 2
    assert "raise mine.max_share" in capsys.readouterr().err
