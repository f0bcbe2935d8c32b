"""A query that is a document of the collection is not answered by itself, where most queries are: ArguAna, Quora."""

from __future__ import annotations

import unicodedata
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.base.testing import DOCS, FakeRetriever
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.corpus.self_matches import SelfMatches, self_matches
from acclimate.records import Doc, Qrel, Query, ScoredDoc
from acclimate.report.query_notes import query_notes
from acclimate.search import measuring, weights
from acclimate.search.candidates import Candidates
from acclimate.search.exclusion import Excluding
from acclimate.search.members import Ids
from acclimate.search.names import SystemName
from acclimate.search.scales import as_it_is
from acclimate.search.systems import Contender
from acclimate.search.weights import LEFT_OUT, Relevance, relevance_of
from acclimate.stages import evaluate as stage
from acclimate.stages.evaluate import _notes

CORPUS = {doc.doc_id: doc for doc in DOCS}
ANSWERS = [Qrel(doc.doc_id, other.doc_id, 1) for doc, other in zip(DOCS, [*DOCS[1:], DOCS[0]], strict=True)]


def nearly(text):
    return text.upper().replace(" ", "  ").rstrip(".") + "!"


@pytest.mark.parametrize(
    ("query", "is_one"),
    [
        (lambda doc: Query(doc.doc_id, doc.text), True),  # ArguAna
        (lambda doc: Query(doc.doc_id, doc.default_text()), True),
        (lambda doc: Query(doc.doc_id, nearly(doc.text)), True),
        (lambda doc: Query(f"q-{doc.doc_id}", f" {doc.text.upper()}"), True),  # Quora
        (lambda doc: Query(doc.doc_id, f"what is a {doc.title}"), False),  # one id for two texts
        (lambda doc: Query(f"q-{doc.doc_id}", nearly(doc.text)), False),
    ],
)
def test_a_query_is_a_document_by_its_text_and_not_by_its_id(query, is_one):
    queries = [query(doc) for doc in DOCS]
    found = self_matches(queries, [], CORPUS)
    expected = {q.query_id: frozenset([doc.doc_id]) for q, doc in zip(queries, DOCS, strict=True)}
    assert (found.documents, found.are_usual) == (expected if is_one else {}, is_one)
    assert found.left_out == found.documents


def test_a_document_may_be_longer_by_its_blanks_than_the_longest_query():
    assert self_matches([Query("q", "why lava")], [], {"d": Doc("d", "  why\n\n lava  ")}).documents == {"q": {"d"}}


def test_where_few_queries_are_documents_nothing_is_left_out():
    queries = [Query(doc.doc_id, doc.text if at < 5 else doc.title) for at, doc in enumerate(DOCS)]
    found = self_matches(queries, ANSWERS, CORPUS)
    assert (len(found.documents), found.are_usual, found.left_out) == (5, False, {})
    told = query_notes({"identical": {"queries": 5, "left_out": False}}, 40)
    assert told[0].startswith("5 of the 40 queries are themselves documents of the collection: they are few, so they")


def test_what_is_judged_relevant_is_an_answer_whatever_its_text():
    queries = [Query(doc.doc_id, doc.text) for doc in DOCS]
    own = [Qrel(doc.doc_id, doc.doc_id, int(at < 3)) for at, doc in enumerate(DOCS)]
    assert set(self_matches(queries, own, CORPUS).documents) == {doc.doc_id for doc in DOCS[3:]}
    assert self_matches([], [], CORPUS) == ({}, False)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKD"])
def test_nor_does_it_matter_how_its_characters_are_written(form):
    text = "Über die Wärme in Öfen: ein Überblick für Anfänger"
    corpus = {
        "d": Doc("d", text),
        "zh": Doc("zh", "機械学習入門：検索の評価を学ぶ。"),
        "other": Doc("other", "ein Ofen"),
    }
    queries = [Query("q", unicodedata.normalize(form, text.upper())), Query("zh", "機械学習入門 検索の評価を学ぶ")]
    assert self_matches(queries, [], corpus).documents == {"q": {"d"}, "zh": {"zh"}}


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), min_size=1),
    st.sets(st.sampled_from("abcdefg")),
    st.integers(1, 7),
)
def test_as_many_are_found_as_are_asked_for_without_those_left_out(scores, left_out, k):
    first, query = FakeRetriever({"x": scores}), Query("q", "x")
    expected = [hit for hit in first.search([query], 9) if hit.doc_id not in left_out][:k]
    assert Excluding(first, {"q": left_out}).search([query], k) == expected
    other = Query("p", "x")
    assert Excluding(first, {"q": left_out}).search([query, other], k) == [*expected, *first.search([other], k)]


def test_what_chooses_leaves_out_what_is_left_out_where_it_is_measured():
    ids, query = Ids(["self", "answer", "other"]), Query("q", "x")
    judged = JudgedQueries(
        "dev", [query], [Qrel("q", "answer", 1)], SelfMatches({"q": frozenset({"self"})}, are_usual=True)
    )
    answers = relevance_of(judged, ids)
    assert answers.grades == [{0: LEFT_OUT, 1: 1}]
    scores = {"self": 9.0, "answer": 8.0, "other": 1.0}
    one = Candidates(query, np.arange(3), {"m": np.array(list(scores.values()), np.float32)})
    assert weights.mean_ndcg([one], answers, "m") == 1.0
    assert measuring.ndcg(FakeRetriever({"x": scores}), judged) == {"q": 1.0}
    assert FakeRetriever({"x": scores}).search([query], 1) == [ScoredDoc("q", "self", 9.0)]


def test_a_corpus_is_read_once_and_only_texts_of_a_fitting_length_are_looked_at():
    class Watched(dict):
        def values(self):
            nonlocal read
            read += 1
            return super().values()

    read = 0
    self_matches([Query("q", "short")] * 3, [], Watched({"d": Doc("d", "short"), "e": Doc("e", "long " * 99)}))
    assert read == 1


def test_what_is_said_of_the_queries_is_said_of_those_that_were_measured():
    queries = [Query("a", "x"), Query("b", "X "), Query("c", "z")]
    judged = JudgedQueries("test", queries, [Qrel("a", "d", 0), Qrel("b", "d", 1), Qrel("c", "d", 0)])
    assert judged.sources == {"a": "x", "b": "x"}
    result: Any = SimpleNamespace(baseline="bm25", per_query={"bm25": {"nDCG@10": {}}})
    notes = [_notes(judged, result, set(asked)) for asked in ("abc", "ac", "ab", "b")]
    assert [(each["nothing_relevant"], each["same_text"]) for each in notes] == [(2, 2), (2, 0), (1, 2), (0, 0)]


def test_what_is_left_out_ranks_below_all_even_where_scores_are_below_0():
    found = Candidates(Query("q", "why"), np.arange(2), {"one": np.array([-1.0, -2.0], np.float32)})
    answers = Relevance.equal([{0: LEFT_OUT, 1: 1}])
    assert weights.mean_ndcg([found], answers, "one", scale=as_it_is) == 1


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_the_error_of_a_mean_is_that_of_its_queries_by_weight(values):
    error, values = weights._error, np.array(values)
    assert error(values, np.full(len(values), 1 / len(values))) == pytest.approx(values.std() / len(values) ** 0.5)
    assert error(np.append(values, 0.5), np.append(np.full(len(values), 1 / len(values)), 0)) == pytest.approx(
        error(values, np.full(len(values), 1 / len(values)))
    )


@pytest.mark.parametrize("are_usual", [True, False])
def test_what_is_measured_leaves_out_queries_that_are_documents_where_most_are(are_usual, tmp_path, monkeypatch):
    class Measured(Exception):
        pass

    def measured(competing, *_, **__):
        raise Measured([[hit.doc_id for hit in each.retriever.search([query], 1)] for each in competing])

    query, retriever = Query("q", "x"), FakeRetriever({"x": {"self": 9.0, "answer": 8.0}})
    test = JudgedQueries("test", [query], [], SelfMatches({"q": frozenset({"self"})}, are_usual))
    systems = [Contender(SystemName(name), retriever, 0, {}) for name in ("bm25", "dense")]
    for name in ("members_of", "rerankers", "choose"):
        monkeypatch.setattr(stage, name, MagicMock())
    monkeypatch.setattr(stage, "named_rerankers", lambda run: [])
    monkeypatch.setattr(stage, "contenders", lambda *_: systems)
    monkeypatch.setattr(stage, "evaluate", measured)
    run, some = MagicMock(), MagicMock()
    run.input.first_stage, run.read.return_value = None, {}
    run.make = lambda _, work, **__: work(tmp_path, None)
    some.measuring.return_value = test
    with pytest.raises(Measured) as found:
        stage.make(run, some, some, some, None, None, None)
    assert found.value.args[0] == [["answer" if are_usual else "self"]] * 2
