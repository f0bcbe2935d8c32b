"""What scorers said is kept: by the pair where company does not matter, else by the call."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.base import models
from acclimate.base.testing import DOCS, QUERIES, FakeScorer
from acclimate.records import Query
from acclimate.search.scorers.cached import CachedScorer
from acclimate.search.scorers.lists import query_batches, score_lists
from acclimate.search.value_cache import ValueCache

DOC_IDS = [doc.doc_id for doc in DOCS[:9]]


class Asked(FakeScorer):
    """Notes every call."""

    by_pair = False

    def score(self, pairs):
        self.__dict__.setdefault("calls", []).append(list(pairs))
        return super().score(pairs)


class ByPair(Asked):
    by_pair = True


def said(text, doc_id):
    return random.Random(f"{text} {doc_id}").gauss(0, 5)


@given(st.lists(st.lists(st.tuples(st.sampled_from(QUERIES[:3]), st.sampled_from(DOC_IDS)), max_size=9), max_size=6))
@settings(deadline=None, max_examples=40)
def test_a_pair_is_rated_once_in_whatever_calls_it_comes(tmp_path_factory, calls):
    scorer = ByPair(said)
    with ValueCache(tmp_path_factory.mktemp("kept") / "scores.sqlite") as store:
        for pairs in calls:
            found = CachedScorer(scorer, store, "corpus").score(pairs)
            assert found == pytest.approx([said(query.text, doc_id) for query, doc_id in pairs], rel=1e-6)
            assert found == CachedScorer(scorer, store, "corpus").score(pairs)
        asked = [pair for call in vars(scorer).get("calls", []) for pair in call]
        assert len(asked) == len(set(asked))
        assert set(asked) == {pair for pairs in calls for pair in pairs}


@pytest.mark.parametrize("kind", [Asked, ByPair])
def test_scores_of_another_scorer_or_of_other_documents_are_not_taken(kind, tmp_path):
    pairs = [(QUERIES[0], doc_id) for doc_id in DOC_IDS[:3]]
    with ValueCache(tmp_path / "scores.sqlite") as store:
        for number, (name, corpus) in enumerate([("one", "a"), ("two", "a"), ("one", "b")]):
            scorer = kind(lambda text, doc_id, number=number: float(number), name)
            assert CachedScorer(scorer, store, corpus).score(pairs) == [number] * 3


@pytest.mark.parametrize("kind", [Asked, ByPair])
def test_a_score_that_is_no_number_is_handed_on_and_asked_for_again(kind, tmp_path):
    answers = iter([math.nan, 1.0])
    with ValueCache(tmp_path / "scores.sqlite") as store:
        scorer = CachedScorer(kind(lambda *_: next(answers)), store, "corpus")
        pair = (QUERIES[0], DOC_IDS[0])
        assert math.isnan(scorer.score([pair])[0])
        assert scorer.score([pair]) == scorer.score([pair]) == [1.0]


@pytest.mark.parametrize(
    ("kind", "device", "sizes"),
    [(Asked, "cpu", [1] * 20), (ByPair, "cpu", [8, 8, 4]), (Asked, "cuda", [20]), (ByPair, "cuda", [20])],
)
def test_lists_are_rated_in_calls_that_fill_the_device(kind, device, sizes, monkeypatch):
    monkeypatch.setattr(models, "device", lambda: device)
    scorer = kind(said)
    lists = [(query, random.Random(query.query_id).sample(DOC_IDS, 5)) for query in QUERIES[:20]]
    rated = dict(score_lists(scorer, lists))
    assert rated == {query: [said(query.text, doc_id) for doc_id in doc_ids] for query, doc_ids in lists}
    assert [len({query for query, _ in call}) for call in scorer.calls] == sizes
    before, scorer.calls = scorer.calls, []
    shuffled = [(query, doc_ids[::-1]) for query, doc_ids in lists]
    assert {query: scores[::-1] for query, scores in score_lists(scorer, shuffled)} == rated
    assert scorer.calls == before  # in whatever order they were found


@pytest.mark.parametrize(("device", "fewest", "most"), [("cpu", 32, 16), ("cuda", 6, 100)])
def test_a_query_that_changes_is_rated_again_with_those_of_its_group_alone(device, fewest, most, monkeypatch):
    monkeypatch.setattr("acclimate.base.models.device", lambda: device)
    queries = [Query(f"q{n}", f"query {n}") for n in range(500)]
    groups = query_batches(queries)
    assert sorted(q.query_id for group in groups for q in group) == sorted(q.query_id for q in queries)
    assert groups == query_batches(queries[::-1])
    assert max(map(len, groups)) <= most  # what a killed run loses, and reads without a sign of progress
    assert len(groups) >= fewest
    changed = query_batches([*queries[1:], queries[0]._replace(query_id="another")])
    assert sum(group not in groups for group in changed) <= 2
