"""Systems: what is chosen on held-out queries, and what each system is made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from knowing import (
    ADAPTED,
    DEV,
    HELD_OUT,
    IDS,
    MEMBERS,
    RERANKED,
    USELESS,
    Knowing,
    KnowingBetter,
    KnowingLess,
    behind,
    made_of,
)

from acclimate.base.testing import DOCS, QUERIES
from acclimate.measure.recommend import effort
from acclimate.records import Query
from acclimate.search.bm25 import BM25
from acclimate.search.choice import _candidate, choose
from acclimate.search.members import BM25Member
from acclimate.search.names import SystemName
from acclimate.search.reranked import Reranked
from acclimate.search.system import System
from acclimate.search.systems import sources_of


def test_every_system_has_weights_and_a_measure():
    chosen = choose(IDS, ADAPTED, HELD_OUT, RERANKED)
    hybrids = ["hybrid", "hybrid:equal", "hybrid:tuned", "hybrid:adapted"]
    names = ["bm25", "dense", "late-interaction", "dense:adapted", *hybrids]
    assert list(chosen.weights) == names
    assert list(chosen.ndcg) == [*names, "hybrid+reranker"]
    assert chosen.weights["hybrid"] == {}
    assert chosen.weights["hybrid:equal"] == dict.fromkeys(MEMBERS, 0.3333)
    assert set(chosen.weights["hybrid:tuned"]) == {"bm25", "dense", "late-interaction"}
    assert set(chosen.weights["hybrid:adapted"]) == {"bm25", "dense:adapted", "late-interaction"}
    for weights in chosen.weights.values():
        assert not weights or sum(weights.values()) == pytest.approx(1, abs=1e-3)


def test_without_adapted_members_there_is_no_adapted_hybrid():
    chosen = choose(IDS, MEMBERS, HELD_OUT, RERANKED)
    assert "hybrid:adapted" not in chosen.weights
    assert chosen.candidate in ("hybrid:equal", "hybrid:tuned", "hybrid+reranker")


def test_the_candidate_takes_least_of_what_does_as_well_as_the_best_and_is_the_best_of_that():
    for reranker, rerank in ((RERANKED, ["hybrid"]), (USELESS, ["hybrid"]), (USELESS, [])):
        chosen = choose(IDS, ADAPTED, DEV, reranker, rerank=rerank)
        contending = [name for name in map(SystemName, chosen.ndcg) if name.steps]
        assert chosen.candidate in contending
        best = max(chosen.ndcg[name] for name in contending)
        assert chosen.ndcg[chosen.candidate] >= best - 0.02
        equals = [name for name in contending if effort(name.facts) == effort(SystemName(chosen.candidate).facts)]
        assert chosen.ndcg[chosen.candidate] == max(chosen.ndcg[name] for name in equals)


@pytest.mark.parametrize("better", ["hybrid:equal", "hybrid:tuned"])
def test_of_systems_that_take_as_much_the_better_is_the_candidate(better):
    ndcg = {name: 0.7 + (name == better) / 1000 for name in ("hybrid:equal", "hybrid:tuned")}
    assert _candidate(ndcg, (), tolerance=0.02) == better


def test_what_is_hardly_better_gives_way_to_the_smaller_step():
    held_out = replace(HELD_OUT, queries=[Query(query.query_id, f"xyz {query.query_id}") for query in QUERIES])
    members = {**MEMBERS, "dense:adapted": Knowing(None, None, 0.1, 2)}
    reached = choose(IDS, members, held_out, USELESS, rerank=()).ndcg
    hybrids = ("hybrid:equal", "hybrid:tuned", "hybrid:adapted")
    best = max(reached[name] for name in hybrids)
    assert best < 0.9
    for gain, candidates in ((0.001, hybrids), (0.1, ("hybrid+reranker",))):
        chosen = choose(IDS, members, held_out, behind(best + gain))
        assert chosen.candidate in candidates


def test_what_everybody_has_is_never_the_candidate():
    for members in (MEMBERS, ADAPTED):
        for held_out in (HELD_OUT, DEV):
            chosen = choose(IDS, members, held_out, USELESS)
            assert not SystemName(chosen.candidate).is_untouched


def test_what_is_not_measured_is_not_the_candidate():
    for rerank in ((), ("bm25",)):
        chosen = choose(IDS, ADAPTED, HELD_OUT, behind(1.0), rerank=rerank)
        assert chosen.candidate in made_of(ADAPTED, chosen)


def test_synthetic_queries_do_not_leave_the_other_members_out():
    certain = {**MEMBERS, "dense:adapted": Knowing(None, None, 2.0, 2), "late-interaction": KnowingLess(None, None)}
    strange = [Query(query.query_id, f"xyz {query.query_id}") for query in QUERIES]
    for held_out in (HELD_OUT, DEV):
        chosen = choose(IDS, certain, replace(held_out, queries=strange), USELESS, rerank=())
        assert chosen.ndcg["dense:adapted"] == max(chosen.ndcg.values())
        assert chosen.candidate == ("hybrid:adapted" if held_out is HELD_OUT else "dense:adapted")


def test_of_equals_what_takes_least_is_the_candidate():
    strange = replace(DEV, queries=[Query(query.query_id, f"xyz {query.query_id}") for query in QUERIES])
    certain = {**MEMBERS, "dense:adapted": Knowing(None, None, 2.0, 2)}
    chosen = choose(IDS, certain, strange, behind(1.0))
    assert chosen.ndcg["dense:adapted"] == chosen.ndcg["hybrid+reranker"] == 1.0
    assert chosen.candidate == "dense:adapted"
    certain["dense"] = Knowing(None, None, 2.0, 3)
    assert choose(IDS, certain, strange, behind(1.0)).candidate in ("hybrid:equal", "hybrid:tuned")


def test_the_adapted_hybrid_takes_what_fuses_best():
    worse = {
        **MEMBERS,
        "dense:adapted": Knowing(None, None, 0.1, 2),
        "late-interaction:adapted": KnowingBetter(None, None),
    }
    chosen = choose(IDS, worse, HELD_OUT, USELESS, rerank=())
    assert set(chosen.weights["hybrid:adapted"]) == {"bm25", "dense", "late-interaction:adapted"}
    assert set(chosen.weights["hybrid:tuned"]) == {"bm25", "dense", "late-interaction"}


def test_contenders_are_what_their_names_say():
    chosen = choose(IDS, ADAPTED, HELD_OUT, RERANKED)
    made = made_of(ADAPTED, chosen)
    assert {name: (c.name.kind, c.name.is_adapted) for name, c in made.items()} == {
        "bm25": ("bm25", False),
        "dense": ("dense", False),
        "late-interaction": ("late-interaction", False),
        "dense:adapted": ("dense", True),
        "hybrid": ("hybrid", False),
        "hybrid:equal": ("hybrid", False),
        "hybrid:tuned": ("hybrid", False),
        "hybrid:adapted": ("hybrid", True),
        "hybrid+reranker": ("reranked", True),
    }
    assert made["bm25"].index_bytes == 1
    assert made["late-interaction"].index_bytes == 111  # BM25 and dense vectors find what it orders
    assert made["dense:adapted"].index_bytes == 1000
    assert made["hybrid"].index_bytes == 11
    assert made["hybrid:equal"].index_bytes == 111
    assert made["bm25"].weights == made["hybrid"].weights == {}
    reranked = made["hybrid+reranker"].retriever
    assert isinstance(reranked, Reranked)
    assert (reranked.depth, reranked.weight) == (10, chosen.reranker_weights["hybrid"])
    assert made["hybrid+reranker"].weights == {
        "hybrid": pytest.approx(1 - chosen.reranker_weights["hybrid"], abs=1e-4), "reranker": 0.75,
    }  # fmt: skip
    for contender in made.values():
        hits = contender.retriever.search(QUERIES[:3], 5)
        assert {hit.query_id for hit in hits} == {"q00", "q01", "q02"}


def test_a_member_without_weight_is_not_part_of_a_hybrid():
    chosen = choose(IDS, MEMBERS, HELD_OUT, RERANKED)
    weights = {"bm25": 0.4, "dense": 0.6, "late-interaction": 0.0}
    chosen = chosen._replace(weights={**chosen.weights, "hybrid:tuned": weights})
    hybrid = made_of(MEMBERS, chosen)["hybrid:tuned"]
    assert hybrid.index_bytes == 11
    assert hybrid.weights == {"bm25": 0.4, "dense": 0.6}
    assert isinstance(hybrid.retriever, System)
    assert list(hybrid.retriever.sources) == ["bm25", "dense"]


def test_a_hybrid_with_weights_as_earlier_versions_chose_them_is_fused_with_them():
    weights = dict.fromkeys(MEMBERS, 0.3333)
    chosen = choose(IDS, MEMBERS, HELD_OUT, RERANKED)
    earlier = chosen._replace(weights={**chosen.weights, "hybrid": weights})
    made = made_of(MEMBERS, earlier)
    hits = [made[name].retriever.search(QUERIES, 10) for name in ("hybrid", "hybrid:equal")]
    assert hits[0] == hits[1]
    assert made["hybrid"].weights == weights


def test_sources_are_members_that_can_find():
    assert sources_of({"bm25": 1, "late-interaction": 1}, MEMBERS) == ["bm25"]
    assert sources_of({"dense:adapted": 1}, ADAPTED) == ["dense:adapted"]
    assert sources_of({"late-interaction": 1}, MEMBERS) == ["bm25", "dense"]


def test_what_was_measured_is_what_the_system_does():
    chosen = choose(IDS, ADAPTED, HELD_OUT, RERANKED)
    made = made_of(ADAPTED, chosen)
    for name in ("dense", "dense:adapted"):
        gains = []
        for row, query in enumerate(QUERIES):
            found = [hit.doc_id for hit in made[name].retriever.search([query], 10)]
            rank = found.index(IDS.doc_ids[row]) + 1 if IDS.doc_ids[row] in found else None
            gains.append(1 / np.log2(1 + rank) if rank else 0.0)
        assert chosen.ndcg[name] == pytest.approx(np.mean(gains), abs=1e-4)


def test_only_real_queries_may_put_what_is_sparse_in_the_place_of_bm25():
    plain = BM25Member(BM25.build([doc.title for doc in DOCS]))
    members = {
        "bm25": plain,
        "dense": Knowing(None, None, 0.3, 1),
        "late-interaction": KnowingLess(None, None),
        "dense:adapted": Knowing(None, None, 0.3, 2),
        "sparse:adapted": Knowing(None, None, 2.0, 3),
    }
    for held_out in (HELD_OUT, DEV):
        weights = choose(IDS, members, held_out, USELESS, rerank=()).weights["hybrid:adapted"]
        assert ("sparse:adapted" in weights) is not held_out.is_synthetic
        assert ("bm25" in weights) is held_out.is_synthetic
