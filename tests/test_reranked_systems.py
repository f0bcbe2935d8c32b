"""Systems whose candidates a reranker orders: which there can be, and where only a reranker was trained."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from knowing import ADAPTED, HELD_OUT, IDS, MEMBERS, PERFECT, RERANKED, SIZES, USELESS, made_of

from acclimate.base.errors import SettingError
from acclimate.base.testing import QUERIES, FakeRetriever, FakeScorer
from acclimate.search.choice import choose
from acclimate.search.names import SystemName
from acclimate.search.systems import Contender, check_reranked, check_systems, contenders, first_stages
from acclimate.search.weights import ChosenWeights
from acclimate.stages import systems as of_run


def test_no_reranker_is_no_reranked_system():
    chosen = choose(IDS, ADAPTED, HELD_OUT, USELESS, rerank=())
    assert chosen.reranker_weights == {}
    assert not [name for name in chosen.ndcg if "+" in name]
    assert not [c for c in made_of(ADAPTED, chosen, scorer=None).values() if c.name.is_reranked]


def test_any_system_can_be_reranked_and_an_unknown_one_is_named():
    chosen = choose(IDS, ADAPTED, HELD_OUT, RERANKED, rerank=("bm25", "dense:adapted"))
    assert list(made_of(ADAPTED, chosen))[-2:] == ["bm25+reranker", "dense:adapted+reranker"]
    with pytest.raises(SettingError, match="no system to rerank named 'hybird'"):
        choose(IDS, ADAPTED, HELD_OUT, RERANKED, rerank=("hybird",))


def test_a_system_to_rerank_that_there_will_not_be_is_refused_before_work_begins():
    check_reranked(
        ("hybrid", "hybrid:equal", "hybrid:tuned", "hybrid:adapted", "bm25", "dense:adapted", "static:adapted"),
        ["dense", "static"],
    )
    for name in ("hybird", "hybrid:tunde", "sparse", "sparse:adapted", "dense+reranker", ""):
        with pytest.raises(SettingError, match="no system to rerank"):
            check_reranked(("hybrid", name), ["dense", "static"])


HEADLINE = "bm25+reranker@1000=1"


def test_where_only_a_reranker_was_trained_the_candidate_is_what_it_reranks():
    for reranker in (RERANKED, USELESS):
        assert choose(IDS, MEMBERS, HELD_OUT, reranker).candidate == "hybrid+reranker"
    assert choose(IDS, MEMBERS, HELD_OUT, USELESS, rerank=()).candidate in ("hybrid:equal", "hybrid:tuned")
    by_name = {HEADLINE: 0.5, "dense+reranker": 0.4, "hybrid+reranker@40=.5": 0.3}
    asked = []

    def weigh(name, first):
        asked.append(name)
        return ChosenWeights({"first": 1 - (name.weight or 0.7), "reranker": name.weight or 0.7}, by_name[name])

    chosen = choose(IDS, MEMBERS, HELD_OUT, weigh, rerank=("dense", *by_name))
    assert (chosen.candidate, sorted(asked)) == (HEADLINE, sorted(by_name))
    assert chosen.reranker_weights == {"dense": 0.7, HEADLINE: 1.0, "hybrid+reranker@40=.5": 0.5}
    assert chosen.reranked == {"dense+reranker": 0.7, HEADLINE: 1.0, "hybrid+reranker@40=.5": 0.5}


def test_a_weight_that_is_given_asks_the_reranker_nothing():
    def weigh(name, first):
        raise AssertionError(f"{name} was weighed")

    for members in (MEMBERS, ADAPTED):
        chosen = choose(IDS, members, HELD_OUT, weigh, rerank=(HEADLINE,))
        assert chosen.reranker_weights == {HEADLINE: 1.0}
        assert (chosen.candidate == HEADLINE) is (members is MEMBERS)
        assert HEADLINE not in chosen.ndcg
    chosen = choose(IDS, MEMBERS, HELD_OUT, weigh, rerank=("first-stage+reranker=1", HEADLINE))
    assert chosen.candidate == HEADLINE  # a provided run cannot be served


def test_the_reranker_alone_orders_as_many_as_its_name_says():
    chosen = choose(IDS, ADAPTED, HELD_OUT, RERANKED, rerank=("bm25+reranker@5=1", "dense:adapted+mine:it@3=.5"))
    upside_down = FakeScorer(lambda text, doc_id: -float(doc_id[1:]))
    systems = contenders(IDS, ADAPTED, chosen, {"reranker": PERFECT, "mine:it": upside_down}, SIZES, rerank_depth=10)
    made = {contender.name: contender for contender in systems}
    alone, half = made["bm25+reranker@5=1"], made["dense:adapted+mine:it@3=.5"]
    assert (alone.retriever.depth, alone.retriever.weight, alone.weights) == (5, 1.0, {"reranker": 1.0})
    assert (half.retriever.depth, half.retriever.weight) == (3, 0.5)
    assert half.weights == {"dense:adapted": 0.5, "mine:it": 0.5}
    assert [alone.name.is_adapted, half.name.is_adapted] == [True, True]
    for query in QUERIES[:5]:
        first = [hit.doc_id for hit in made["dense:adapted"].retriever.search([query], 12)]
        ranked = [hit.doc_id for hit in half.retriever.search([query], 12)]
        assert sorted(ranked[:3]) == sorted(first[:3]) and ranked[3:] == first[3:]
        assert len(ranked) == 12


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bm52+reranker=1", "no system named 'bm52'. Did you mean 'bm25'"),
        ("dense:adapted+reranker", "no system named 'dense:adapted'"),
        ("first-stage", "no system named 'first-stage'"),
        ("bm25+", "no reranker named ''; expected reranker, cross-encoder:MODEL"),
        ("bm25+rerankr@100", "no reranker named 'rerankr'"),
        ("bm25+reranker@0", "@DEPTH of 1 or more"),
        ("bm25+reranker=0", "=WEIGHT above 0"),
        ("bm25+reranker@10=1.5", "=WEIGHT above 0"),
        ("bm25+reranker@10=-1", "no reranker named 'reranker@10=-1'"),
        ("bm25+reranker@ten", "no reranker named 'reranker@ten'"),
    ],
)
def test_a_system_that_cannot_be_is_refused_before_work_begins(name, message):
    with pytest.raises(SettingError, match=message.replace("+", "\\+")):
        check_systems(("bm25", name), first_stages([]))


def test_the_systems_that_can_be_are_taken():
    check_systems(
        ("bm25", HEADLINE, "hybrid:tuned+reranker", "dense:adapted+cross-encoder:a/b@main@200=.5", "sparse+monot5:x=1"),
        first_stages(["dense", "sparse"]),
    )
    with pytest.raises(SettingError, match="as in first-stage\\+reranker=1"):
        check_systems(("first-stage+reranker",), [*first_stages([]), "first-stage"])


@pytest.mark.parametrize(
    ("name", "is_trained", "is_adapted"),
    [
        ("hybrid+reranker", True, True),
        ("hybrid+reranker", False, False),
        ("dense:adapted+reranker@200=1", False, True),
        ("bm25+cross-encoder:a/b", True, False),
        ("dense:adapted", False, True),
    ],
)
def test_what_somebody_else_s_reranker_orders_was_not_adapted_here(name, is_trained, is_adapted):
    contender = Contender(SystemName(name), FakeRetriever({}), 0, {}, is_trained=is_trained)
    assert contender.facts["adapted"] is is_adapted


def run_of(rerank, systems) -> Any:
    run = {
        "settings": {"evaluate": {"rerank": rerank, "systems": systems}, "index": {"max_tokens": 9}},
        "student_kinds": (),
        "provided": SimpleNamespace(first_stage=None),
        "input": SimpleNamespace(corpus={}),
    }
    return SimpleNamespace(**run)


def test_which_rerankers_a_run_has_follows_from_the_systems_to_measure():
    trained: Any = SimpleNamespace(reranker=lambda run: "the trained one")
    own, other = ("bm25+reranker@9=1", "dense+reranker"), ("hybrid+cross-encoder:a/b", "bm25+cross-encoder:a/b@7")
    for rerank, ours, others in product(((), ("hybrid", "dense")), ((), own), ((), other)):
        run = run_of(rerank, ("bm25", *others, *ours))
        assert {*of_run.reranked_systems(run)} == {*(f"{name}+reranker" for name in rerank), *ours, *others}
        assert of_run.needs_reranker(run) == bool(rerank or ours)
        assert of_run.named_rerankers(run) == (["cross-encoder:a/b"] if others else [])
        assert {*of_run.rerankers(run, None)} == {*of_run.named_rerankers(run)}
        assert {*of_run.rerankers(run, trained)} == {"reranker", *of_run.named_rerankers(run)}
        assert {*of_run.reranked_names(run, trained)} == {*rerank, *ours, *others}
        assert {*of_run.reranked_names(run, None)} == {*ours, *others}


def test_a_run_whose_system_has_a_model_that_cannot_score_is_refused(tiny_encoder):
    of_run.check_systems(run_of(("hybrid",), ("bm25+cross-encoder:a/b", "dense+reranker")))
    with pytest.raises(SettingError, match="not trained to score"):
        of_run.check_systems(run_of(("hybrid",), ("dense+reranker", f"bm25+cross-encoder:{tiny_encoder}")))
