"""Systems: what is chosen on held-out queries, and what each system is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from acclimate.base.errors import SettingError
from acclimate.base.testing import DOCS, QUERIES, FakeScorer
from acclimate.corpus.judged import Judged
from acclimate.records import Qrel, Query
from acclimate.search.bm25 import BM25
from acclimate.search.choice import choose
from acclimate.search.members import BM25Member, DenseMember, Ids, LateInteractionMember
from acclimate.search.names import SystemName
from acclimate.search.reranked import Reranked
from acclimate.search.system import System
from acclimate.search.systems import check_reranked, contenders, sources_of
from acclimate.search.weights import Weighed

IDS = Ids([doc.doc_id for doc in DOCS])
QRELS = [Qrel(query.query_id, doc.doc_id, 1) for query, doc in zip(QUERIES, DOCS, strict=True)]
HELD_OUT = Judged("synthetic", QUERIES, QRELS)
DEV = replace(HELD_OUT, split="dev")


@dataclass(frozen=True)
class Knowing(DenseMember):
    """A dense member whose score of the answer is `knows`; the others' are random in [0, 1]."""

    knows: float = 0.5
    number: int = 0

    def view(self, query: Query, encoded):
        values = np.random.default_rng([self.number, int(query.query_id[1:])]).random(40).astype(np.float32)
        values[int(query.query_id[1:])] = self.knows
        return View(values)


class KnowingTokens(LateInteractionMember):
    """The same, as late interaction."""

    def view(self, query: Query, encoded):
        return Knowing(None, None, 0.6, 7).view(query, None)


class KnowingBetter(KnowingTokens):
    """Sure of the answer."""

    def view(self, query, encoded):
        return Knowing(None, None, 2.0, 8).view(query, None)


class KnowingLess(KnowingTokens):
    """Puts the answer low."""

    def view(self, query, encoded):
        return Knowing(None, None, 0.1, 9).view(query, None)


@dataclass(frozen=True)
class View:
    values: np.ndarray

    def all_scores(self):
        return self.values

    def scores(self, rows):
        return self.values[rows]


MEMBERS = {
    "bm25": BM25Member(BM25.build(doc.default_text() for doc in DOCS)),
    "dense": Knowing(None, None, 0.7, 1),
    "late-interaction": KnowingTokens(None, None),
}
ADAPTED = {**MEMBERS, "dense:adapted": Knowing(None, None, 0.9, 2)}
SIZES = {"bm25": 1, "dense": 10, "late-interaction": 100, "dense:adapted": 1000}
PERFECT = FakeScorer(lambda text, doc_id: float(text == QUERIES[int(doc_id[1:])].text))


def behind(ndcg):
    """A reranker that reaches this behind any system."""
    return lambda first: Weighed({"first": 0.25, "reranker": 0.75}, ndcg)


RERANKED, USELESS = behind(0.99), behind(0.01)


def made_of(members, chosen, *, scorer=PERFECT):
    """The contenders by name."""
    found = contenders(IDS, members, chosen, scorer, SIZES, rerank_depth=10)
    return {contender.name: contender for contender in found}


def test_every_system_has_weights_and_a_measure():
    chosen = choose(IDS, ADAPTED, HELD_OUT, RERANKED, trust=0.5)
    names = ["bm25", "dense", "late-interaction", "dense:adapted", "hybrid", "hybrid:adapted"]
    assert list(chosen.weights) == names
    assert list(chosen.ndcg) == [*names, "hybrid+reranker"]
    assert set(chosen.weights["hybrid"]) == {"bm25", "dense", "late-interaction"}
    assert set(chosen.weights["hybrid:adapted"]) == {"bm25", "dense:adapted", "late-interaction"}
    for weights in chosen.weights.values():
        assert sum(weights.values()) == pytest.approx(1, abs=1e-3)


def test_without_adapted_members_there_is_no_adapted_hybrid():
    chosen = choose(IDS, MEMBERS, HELD_OUT, RERANKED, trust=0.5)
    assert "hybrid:adapted" not in chosen.weights
    assert chosen.candidate == "hybrid+reranker"


def test_the_candidate_is_the_best_of_the_adapted_on_the_held_out_queries():
    for reranker in (RERANKED, USELESS, None):
        chosen = choose(IDS, ADAPTED, DEV, reranker, trust=0.5)
        contending = [name for name in chosen.ndcg if SystemName(name).is_adapted]
        assert chosen.candidate in contending
        assert chosen.ndcg[chosen.candidate] >= max(chosen.ndcg[name] for name in contending) - 0.02


def test_what_is_hardly_better_gives_way_to_the_adapted_hybrid():
    unsure = {**MEMBERS, "dense:adapted": Knowing(None, None, 0.5, 2)}
    held_out = replace(HELD_OUT, queries=[Query(query.query_id, f"xyz {query.query_id}") for query in QUERIES])
    reached = choose(IDS, unsure, held_out, None, trust=0.5).ndcg["hybrid:adapted"]
    assert reached < 0.9
    for gain, candidate in ((0.001, "hybrid:adapted"), (0.1, "hybrid+reranker")):
        chosen = choose(IDS, unsure, held_out, behind(reached + gain), trust=0.5)
        assert chosen.candidate == candidate


def test_what_is_not_measured_is_not_the_candidate():
    for rerank in ((), ("bm25",)):
        chosen = choose(IDS, ADAPTED, HELD_OUT, behind(1.0), trust=0.5, rerank=rerank)
        assert chosen.candidate in made_of(ADAPTED, chosen)


def test_synthetic_queries_do_not_leave_the_other_members_out():
    certain = {**MEMBERS, "dense:adapted": Knowing(None, None, 2.0, 2), "late-interaction": KnowingLess(None, None)}
    strange = [Query(query.query_id, f"xyz {query.query_id}") for query in QUERIES]
    for held_out in (HELD_OUT, DEV):
        chosen = choose(IDS, certain, replace(held_out, queries=strange), None, trust=0.0)
        assert chosen.ndcg["dense:adapted"] > chosen.ndcg["hybrid:adapted"] + 0.02
        assert chosen.candidate == ("hybrid:adapted" if held_out is HELD_OUT else "dense:adapted")


def test_of_equals_the_fastest_is_the_candidate():
    certain = {**MEMBERS, "dense:adapted": Knowing(None, None, 2.0, 2), "dense": Knowing(None, None, 2.0, 3)}
    chosen = choose(IDS, certain, DEV, behind(1.0), trust=1.0)
    assert chosen.ndcg["dense:adapted"] == 1.0
    assert chosen.candidate == "dense:adapted"


def test_the_adapted_hybrid_takes_what_fuses_best():
    worse = {
        **MEMBERS,
        "dense:adapted": Knowing(None, None, 0.1, 2),
        "late-interaction:adapted": KnowingBetter(None, None),
    }
    chosen = choose(IDS, worse, HELD_OUT, None, trust=1.0)
    assert set(chosen.weights["hybrid:adapted"]) == {"bm25", "dense", "late-interaction:adapted"}
    assert set(chosen.weights["hybrid"]) == {"bm25", "dense", "late-interaction"}


def test_trust_in_the_held_out_queries_moves_weights_away_from_equal_ones():
    none, half, full = (choose(IDS, ADAPTED, HELD_OUT, None, trust=t).weights["hybrid"] for t in (0.0, 0.5, 1.0))
    assert set(none.values()) == {0.3333}
    assert half == pytest.approx({name: (none[name] + full[name]) / 2 for name in none}, abs=2e-4)


def test_no_reranker_is_no_reranked_system():
    chosen = choose(IDS, ADAPTED, HELD_OUT, None, trust=0.5)
    assert chosen.reranker_weights == {}
    assert not [name for name in chosen.ndcg if "+" in name]
    assert not [c for c in made_of(ADAPTED, chosen, scorer=None).values() if c.name.is_reranked]


def test_contenders_are_what_their_names_say():
    chosen = choose(IDS, ADAPTED, HELD_OUT, RERANKED, trust=0.5)
    made = made_of(ADAPTED, chosen)
    assert {name: (c.name.kind, c.name.is_adapted) for name, c in made.items()} == {
        "bm25": ("bm25", False),
        "dense": ("dense", False),
        "late-interaction": ("late-interaction", False),
        "dense:adapted": ("dense", True),
        "hybrid": ("hybrid", False),
        "hybrid:adapted": ("hybrid", True),
        "hybrid+reranker": ("reranked", True),
    }
    assert made["bm25"].index_bytes == 1
    assert made["late-interaction"].index_bytes == 111  # BM25 and dense vectors find what it orders
    assert made["dense:adapted"].index_bytes == 1000
    assert made["bm25"].weights == {}
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
    chosen = choose(IDS, MEMBERS, HELD_OUT, RERANKED, trust=0.5)
    chosen = chosen._replace(weights={**chosen.weights, "hybrid": {"bm25": 0.4, "dense": 0.6, "late-interaction": 0.0}})
    hybrid = made_of(MEMBERS, chosen)["hybrid"]
    assert hybrid.index_bytes == 11
    assert hybrid.weights == {"bm25": 0.4, "dense": 0.6}
    assert isinstance(hybrid.retriever, System)
    assert list(hybrid.retriever.sources) == ["bm25", "dense"]


def test_sources_are_members_that_can_find():
    assert sources_of({"bm25": 1, "late-interaction": 1}, MEMBERS) == ["bm25"]
    assert sources_of({"dense:adapted": 1}, ADAPTED) == ["dense:adapted"]
    assert sources_of({"late-interaction": 1}, MEMBERS) == ["bm25", "dense"]


def test_what_was_measured_is_what_the_system_does():
    chosen = choose(IDS, ADAPTED, HELD_OUT, RERANKED, trust=0.5)
    made = made_of(ADAPTED, chosen)
    for name in ("dense", "dense:adapted"):
        gains = []
        for row, query in enumerate(QUERIES):
            found = [hit.doc_id for hit in made[name].retriever.search([query], 10)]
            rank = found.index(IDS.doc_ids[row]) + 1 if IDS.doc_ids[row] in found else None
            gains.append(1 / np.log2(1 + rank) if rank else 0.0)
        assert chosen.ndcg[name] == pytest.approx(np.mean(gains), abs=1e-4)


def test_any_system_can_be_reranked_and_an_unknown_one_is_named():
    chosen = choose(IDS, ADAPTED, HELD_OUT, RERANKED, trust=0.5, rerank=("bm25", "dense:adapted"))
    assert list(made_of(ADAPTED, chosen))[-2:] == ["bm25+reranker", "dense:adapted+reranker"]
    with pytest.raises(SettingError, match="no system to rerank named 'hybird'"):
        choose(IDS, ADAPTED, HELD_OUT, RERANKED, trust=0.5, rerank=("hybird",))


def test_a_system_to_rerank_that_there_will_not_be_is_refused_before_work_begins():
    check_reranked(
        ("hybrid", "hybrid:adapted", "bm25", "dense:adapted", "static", "static:adapted"), ["dense", "static"]
    )
    for name in ("hybird", "sparse", "sparse:adapted", "dense+reranker", ""):
        with pytest.raises(SettingError, match="no system to rerank"):
            check_reranked(("hybrid", name), ["dense", "static"])


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
        weights = choose(IDS, members, held_out, None, trust=1.0).weights["hybrid:adapted"]
        assert ("sparse:adapted" in weights) is not held_out.is_synthetic
        assert ("bm25" in weights) is held_out.is_synthetic
