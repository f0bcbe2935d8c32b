"""Of documents that are nearly the same one is drawn, and of one source no more than its share."""

from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from test_sample import LONG, by_id, vectors_of

from acclimate.base.errors import SettingError
from acclimate.corpus.near_duplicates import DistinctTexts, groups_of
from acclimate.records import Doc, NWay, SyntheticQuery
from acclimate.search.members import Ids
from acclimate.stages.raters import RunRaters
from acclimate.stages.sample import METHODS, sample


def edited(text: str, words: int, rng: random.Random) -> str:
    """The text with so many of its words replaced."""
    parts = text.split()
    for at in rng.sample(range(len(parts)), words):
        parts[at] = f"other{rng.randrange(10**6)}"
    return " ".join(parts)


def runs(doc: Doc) -> set[tuple[str, ...]]:
    words = doc.default_text().split()
    return {tuple(words[at : at + 3]) for at in range(len(words) - 2)}


def jaccard(first: set[tuple[str, ...]], second: set[tuple[str, ...]]) -> float:
    return len(first & second) / len(first | second)


def test_what_is_as_alike_as_the_threshold_is_a_near_duplicate_and_marks_without_words_are_compared():
    texts = DistinctTexts(0.5)
    assert texts.add("a b c d")
    assert not texts.add("a b c d e f")  # two of the four shingles
    assert texts.add("a b c x e f")
    assert [texts.add(text) for text in ("?! ## ... ++", "-- == %% $$", "?! ## ... ++")] == [True, True, False]


@tries(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.8, 0.9]), st.sampled_from(METHODS))
def test_near_duplicates_are_never_both_drawn(seed, threshold, method):
    rng = random.Random(seed)
    texts = [" ".join(f"w{rng.randrange(10_000)}" for _ in range(100)) for _ in range(5)]
    docs = [Doc(f"{t}.{n}", edited(text, n, rng)) for t, text in enumerate(texts) for n in range(10)]
    drawn = sample(by_id(docs), vectors=vectors_of(docs), near_duplicates=threshold, n_docs=49, method=method)
    assert {doc_id[0] for doc_id in drawn.splits} == set("01234")
    kept = [runs(doc) for doc in docs if doc.doc_id in drawn.splits]
    assert all(jaccard(a, b) < threshold for a in kept for b in kept if a is not b)
    left_out = [max(jaccard(runs(doc), other) for other in kept) for doc in docs if doc.doc_id not in drawn.splits]
    assert drawn.dropped["near duplicate"] == sum(alike >= threshold for alike in left_out) > 0


def test_first_takes_documents_in_the_order_of_the_corpus():
    docs = [*LONG[7:3:-1], Doc("short", "x"), LONG[9], LONG[5]._replace(doc_id="a"), *LONG[20:30]]
    drawn = sample(by_id(docs), method="first", n_docs=7, near_duplicates=1.0)
    assert list(drawn.splits) == ["d7", "d6", "d5", "d4", "d9", "d20", "d21"]
    assert drawn.dropped["duplicate"] == 1
    assert list(sample(by_id(docs), method="first", n_docs=7, near_duplicates=1.0, seed=5).splits) == list(drawn.splits)


def test_who_is_like_a_drawn_one_leaves_its_place_to_another():
    twins = [doc._replace(doc_id=f"twin of {doc.doc_id}", text=doc.text + " once more") for doc in LONG[:100]]
    drawn = sample(by_id([*LONG[:100], *twins]), n_docs=100, near_duplicates=0.7)
    assert len({doc_id.removeprefix("twin of ") for doc_id in drawn.splits}) == len(drawn.splits)
    assert len(drawn.splits) + drawn.dropped["near duplicate"] + drawn.dropped["not drawn"] == 200


@given(st.text(max_size=30))
@example("")
@example("日本語")
def test_any_text_is_like_itself(text):
    differs = DistinctTexts(0.99)
    assert [differs.add(text), differs.add(text)] == [True, False]


def test_few_texts_are_taken_for_near_duplicates_by_mistake():
    """What MinHash only suspects is counted on the words."""
    differs = DistinctTexts(0.5)
    rng = random.Random(0)
    assert all(differs.add(" ".join(f"w{rng.randrange(300)}" for _ in range(40))) for _ in range(300))


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.1, float("nan")])
def test_a_likeness_outside_its_range_is_refused(threshold):
    with pytest.raises(SettingError, match="near_duplicates"):
        sample(by_id(LONG[:3]), near_duplicates=threshold)


@pytest.mark.parametrize("method", METHODS)
def test_no_source_gives_more_than_its_share_and_others_make_up_for_it(method):
    docs = [doc._replace(doc_id=f"{'long.txt#' if n < 80 else 'b/'}{n}") for n, doc in enumerate(LONG[:100])]
    parents = {doc.doc_id: "long.txt" for doc in docs[:80]}
    docs += [doc._replace(doc_id=f"{n}.txt") for n, doc in enumerate(LONG[100:110])]  # in no folder: 10 sources
    settings = {"method": method, "n_docs": 15, "near_duplicates": 1}
    drawn = sample(by_id(docs), vectors=vectors_of(docs), parents=parents, max_per_source=4, **settings)
    counts = Counter(parents.get(doc_id) or doc_id.rpartition("/")[0] or doc_id for doc_id in drawn.splits)
    assert len(drawn.splits) == 15
    assert counts["long.txt"] <= 4
    assert counts["b"] <= 4
    assert max(counts[f"{n}.txt"] for n in range(10)) == 1
    assert drawn.dropped["source is full"] > 0


def test_passages_are_known_by_what_was_split_not_by_their_ids():
    docs = [doc._replace(doc_id=f"issue#{n}") for n, doc in enumerate(LONG[:40])]
    assert len(sample(by_id(docs), max_per_source=1).splits) == 40
    parents = {doc.doc_id: f"book{n // 10}" for n, doc in enumerate(docs)}
    drawn = sample(by_id(docs), 0.3, parents=parents, max_per_source=3).splits
    assert set(Counter(parents[doc_id] for doc_id in drawn).values()) == {3}
    assert all(len({side for d, side in drawn.items() if parents[d] == book}) == 1 for book in parents.values())


@tries(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=6))
def test_a_group_is_all_that_copies_passages_or_pairs_connect(pairs):
    corpus = {doc_id: Doc(doc_id, "the same" if doc_id in "ah" else f"text {doc_id}") for doc_id in "abcdefgh"}
    group = groups_of(corpus, corpus, 1, parents={"c": "x", "f": "x"}, together=pairs)
    connected = {doc_id: {doc_id} for doc_id in corpus}
    for first, second in [*pairs, ("a", "h"), ("c", "f")]:
        both = connected[first] | connected[second]
        connected |= dict.fromkeys(both, both)
    for doc_id, others in connected.items():
        assert {other_id for other_id in corpus if group[other_id] == group[doc_id]} == others


@pytest.mark.parametrize("trains", ["rerankers.consistency.trained_reranker", "students.round_trip.trained_retriever"])
def test_what_is_trained_to_filter_contrasts_no_copy_or_sibling_of_the_source(trains, tmp_path, monkeypatch):
    texts = {"a#0": "w x y z a b", "a#1": "p q r s t u", "copy": "w x y z a b c", "other": "g h i j k l"}
    corpus, ids = by_id([Doc(doc_id, text) for doc_id, text in texts.items()]), Ids([*texts], {"a#0": "a", "a#1": "a"})
    given: list[Any] = []
    monkeypatch.setattr(f"acclimate.learn.{trains}", lambda *data, **rest: given.append((data, rest)))
    run: Any = SimpleNamespace(
        settings={"sample": {"near_duplicates": 0.7}, "train": {"n_ways": 4}, "distill": {}}, seed=0,
        input=SimpleNamespace(corpus=corpus, parents=ids.parents),
        base=SimpleNamespace(ids=ids, encoder=None, vectors=SimpleNamespace(pooled=np.ones((4, 1), np.float32))),
    )  # fmt: skip
    nothing: Any = None
    sampled: Any = SimpleNamespace(splits={})
    raters, query = RunRaters(run, nothing, sampled, tmp_path, nothing), SyntheticQuery("q", "?", "a#0", -1.0)
    if trains.endswith("reranker"):
        raters._trained_reranker([query], {"q": [*texts]})
        can = [doc_id for doc_id in texts if given[0][1]["can_contrast"](query, doc_id)]
    else:
        raters._trained([query])
        others = [*texts][:0:-1]
        (answers,) = given[0][0][3].answers([NWay("q", ("a#0",))], others)
        can = [doc_id for doc_id, answer in zip(others, answers, strict=True) if not answer]
    assert can == ["other"]
