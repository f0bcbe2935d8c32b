"""Pseudo-relevance feedback: what it adds to a query, and the systems that search with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chain import write_corpus
from hypothesis import given
from hypothesis import strategies as st
from knowing import HELD_OUT, IDS, MEMBERS, RERANKED, SIZES, made_of

import acclimate
from acclimate.base.testing import DOCS, QUERIES
from acclimate.records import Doc, Query
from acclimate.report.steps import WHAT_IT_IS
from acclimate.search import feedback
from acclimate.search.bm25 import BM25
from acclimate.search.choice import choose
from acclimate.search.feedback import DOCUMENTS, SHARE, TERMS, FeedbackMember
from acclimate.search.names import FEEDBACK, SystemName
from acclimate.search.systems import LATE_INTERACTION, steps, system_of
from acclimate.search.views import Views

CORPUS = {doc.doc_id: doc for doc in DOCS}
INDEX = MEMBERS["bm25"].index
FIRST = system_of(IDS, MEMBERS, dict.fromkeys(MEMBERS, 1 / 3))
MEMBER = FeedbackMember(index=INDEX, corpus=CORPUS, first=FIRST)
WITH_FEEDBACK = {**MEMBERS, FEEDBACK: FeedbackMember(index=INDEX, corpus=CORPUS)}
SHARES = {FEEDBACK: 0.5, "dense": 0.3, "late-interaction": 0.2}


@given(
    st.lists(st.sampled_from(DOCS), max_size=5, unique=True),
    st.floats(0, 1),
    st.sampled_from([*(query.text for query in QUERIES), "", "the of", "volcano volcano lava"]),
)
def test_an_expanded_query_is_its_own_terms_and_some_of_the_documents(docs, score, text):
    scores = {doc.doc_id: score for doc in docs}
    weights, own = MEMBER.expanded(Query("q", text), scores), INDEX.analyzer(text)
    is_expanded = bool(docs) and score > 0
    assert sum(weights.values()) == pytest.approx((1 - SHARE * is_expanded) * bool(own) + SHARE * is_expanded)
    of_documents = {term for doc in docs for term in INDEX.analyzer(doc.default_text())}
    assert {*own} <= weights.keys() <= {*own} | (of_documents if is_expanded else set())
    assert len(weights) <= len({*own}) + TERMS
    for term in weights.keys() & {*own} - of_documents:
        assert weights[term] == pytest.approx((1 - SHARE * is_expanded) * own.count(term) / len(own))


def test_a_document_counts_by_its_score_whatever_its_length_and_by_its_start(monkeypatch):
    member = FeedbackMember(index=BM25.build(["x"], language="none"), corpus={
        "long": Doc("long", "lava " * 9), "short": Doc("short", "ice"), "tail": Doc("tail", "ash sea"),
    }, first=FIRST)  # fmt: skip
    weights = member.expanded(Query("q", "why"), {"long": 1.0, "short": 3.0})
    assert weights == pytest.approx({"why": 1 - SHARE, "lava": SHARE / 4, "ice": SHARE * 3 / 4})
    monkeypatch.setattr(feedback, "_CHARACTERS", 4)
    assert member.expanded(Query("q", "why"), {"tail": 1.0}).keys() == {"why", "ash"}


def test_the_terms_that_count_most_are_added_and_the_first_by_name_of_equal_ones(monkeypatch):
    monkeypatch.setattr(feedback, "TERMS", 2)
    corpus = {"d": Doc("d", "sea ice lava ash lava")}
    member = FeedbackMember(index=BM25.build(["x"], language="none"), corpus=corpus, first=FIRST)
    weights = member.expanded(Query("q", "why"), {"d": 0.5})
    assert weights == pytest.approx({"why": 1 - SHARE, "lava": SHARE * 2 / 3, "ash": SHARE / 3})


def test_feedback_of_another_first_search_is_another():
    first = system_of(IDS, {"bm25": MEMBERS["bm25"]}, {"bm25": 1.0})
    one, other = (replace(MEMBER, first=replace(first, depth=depth)).fingerprint for depth in (7, 8))
    assert one != other


def test_scores_are_sums_over_terms_each_times_its_weight(monkeypatch):
    monkeypatch.setattr(feedback, "TERMS", 10**6)  # each of the documents has terms among the best
    query = QUERIES[0]
    (view,) = MEMBER.views([query], [], Views())
    first = {hit.doc_id: hit.score for hit in FIRST.search([query], DOCUMENTS)}
    assert len(first) == DOCUMENTS
    expected = np.zeros(len(DOCS))
    for term, weight in MEMBER.expanded(query, first).items():
        rows, weights = INDEX.postings.of(term)
        expected[rows] += weight * weights.astype(np.float64)
    assert view.all_scores() == pytest.approx(expected, rel=1e-4)
    assert (view.all_scores() > 0).sum() > (INDEX.scores(query.text) > 0).sum()


def test_a_document_that_shares_no_word_with_the_query_is_found_by_the_words_of_one_that_dense_retrieval_finds():
    strange = Query("q0", "xyzzy")  # no document has it
    assert not INDEX.scores(strange.text).any()
    (view,) = MEMBER.views([strange], [], Views())
    first = [hit.doc_id for hit in FIRST.search([strange], DOCUMENTS)]
    assert {IDS.doc_ids[row] for row in np.argsort(-view.all_scores())[:DOCUMENTS]} & {*first}
    assert view.all_scores().any()


def test_what_a_query_is_given_does_not_depend_on_its_company():
    together = [view.all_scores() for view in MEMBER.views(QUERIES, [], Views())]
    for query, scores in zip(QUERIES, together, strict=True):
        (alone,) = MEMBER.views([query], [], Views())
        assert alone.all_scores().tobytes() == scores.tobytes()


def test_a_query_is_looked_at_once_by_what_the_first_search_and_the_second_share():
    asked = []

    class Counted(type(MEMBERS["dense"])):
        def views(self, queries, encoded, others):
            asked.extend(queries)
            return super().views(queries, encoded, others)

    members = {**WITH_FEEDBACK, "dense": Counted(None, None, 0.7, 1)}
    system_of(IDS, members, SHARES).search(QUERIES, 10)
    assert sorted(asked) == sorted(QUERIES)


def test_terms_are_of_what_the_same_members_find_with_bm25_in_its_place():
    system = system_of(IDS, WITH_FEEDBACK, SHARES)
    first = system.members[FEEDBACK].first
    same = system_of(IDS, MEMBERS, {"bm25": 0.5, "dense": 0.3, "late-interaction": 0.2})
    assert first.search(QUERIES, 5) == same.search(QUERIES, 5)
    assert (system.sources, system.parts) == ([FEEDBACK, "dense"], [*SHARES])
    assert WITH_FEEDBACK[FEEDBACK].first is None
    (seen,) = system.candidates(QUERIES[:1])
    (view,) = replace(MEMBER, first=first).views(QUERIES[:1], [], Views())
    assert seen.scores[FEEDBACK].tobytes() == view.all_scores()[seen.rows].tobytes()


def test_the_last_hybrid_is_there_with_feedback_and_the_member_is_no_system_by_itself():
    chosen = choose(IDS, WITH_FEEDBACK, HELD_OUT, RERANKED)
    weights = chosen.weights["hybrid:tuned:feedback"]
    assert {name.replace(FEEDBACK, "bm25"): weight for name, weight in weights.items()} == chosen.weights[
        "hybrid:tuned"
    ]
    assert FEEDBACK not in chosen.weights
    assert {name for name in chosen.weights if "feedback" in name} == {"hybrid:tuned:feedback"}
    assert chosen.weights.keys() - choose(IDS, MEMBERS, HELD_OUT, RERANKED).weights.keys() == {"hybrid:tuned:feedback"}
    adapted = choose(IDS, {**WITH_FEEDBACK, "dense:adapted": MEMBERS["dense"]}, HELD_OUT, RERANKED)
    assert {name for name in adapted.weights if "feedback" in name} == {"hybrid:adapted:feedback"}


def test_what_is_read_for_feedback_counts_once():
    chosen = choose(IDS, WITH_FEEDBACK, HELD_OUT, RERANKED)
    made = made_of(WITH_FEEDBACK, chosen)
    assert made["hybrid:tuned:feedback"].index_bytes == sum(SIZES[name] for name in MEMBERS)


def test_a_name_says_what_feedback_was_added_to():
    name = SystemName("hybrid:adapted:feedback")
    assert (name.origin, name.retriever, name.kind) == ("hybrid:adapted", "hybrid", "hybrid")
    assert name.is_adapted
    assert name.has_feedback
    assert not name.is_untouched
    assert name.steps == SystemName("hybrid:adapted").steps + 1
    assert not SystemName("hybrid:tuned:feedback").is_adapted
    assert not SystemName("hybrid:adapted").has_feedback
    assert SystemName("hybrid:tuned").with_feedback() == "hybrid:tuned:feedback"


def test_a_run_measures_it_says_what_it_adds_and_searches_with_it(finished):
    run = acclimate.open(finished)
    systems = {system["name"]: system for system in run.report["systems"]}
    (name,) = (name for name in systems if name.endswith(":feedback"))
    assert FEEDBACK in systems[name]["weights"]
    (step,) = (step for step in run.report["steps"] if step["step"] == "feedback")
    assert (step["from"], step["to"]) == (name.removesuffix(":feedback"), name)
    first, *_ = run.search(QUERIES[0].text, system=name)
    assert FEEDBACK in first.members


def test_a_setting_leaves_it_out(corpus, run_adapt, fake_llm, tmp_path):
    assert run_adapt(corpus, tmp_path / "run", changes=("evaluate.feedback=false",)) == 0
    report = acclimate.open(tmp_path / "run").report
    assert not [system["name"] for system in report["systems"] if "feedback" in system["name"]]
    assert "feedback" not in [step["step"] for step in report["steps"]]


def test_terms_of_documents_that_came_by_an_update_are_added(copied, tmp_path):
    run = acclimate.open(copied)
    (name,) = (system["name"] for system in run.report["systems"] if system["name"].endswith(":feedback"))
    run.update(write_corpus(tmp_path / "new.jsonl", [Doc("zircon", "Zircon outlives glaciers.")]))
    first, *_ = run.search("zircon", k=3, system=name)
    assert first.document_id == "zircon"
    assert first.members[FEEDBACK] > 0


def test_a_report_says_what_each_step_is():
    names = [SystemName(name) for name in ("hybrid", "hybrid:equal", "hybrid:tuned", "hybrid:adapted")]
    names += [names[-1].with_feedback(), names[0].reranked()]
    found = {step for every in (names, [*names, LATE_INTERACTION]) for step, _, _ in steps(every)}
    assert found == WHAT_IT_IS.keys()
