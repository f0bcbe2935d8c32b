"""Systems: what is chosen on held-out queries, and what each system is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

from acclimate.base.errors import SettingError
from acclimate.base.testing import DOCS, QUERIES, FakeRetriever, FakeScorer
from acclimate.corpus.judged import Judged
from acclimate.measure.recommend import effort
from acclimate.records import Qrel, Query
from acclimate.search.bm25 import BM25
from acclimate.search.choice import choose
from acclimate.search.members import BM25Member, DenseMember, Ids, LateInteractionMember
from acclimate.search.names import SystemName
from acclimate.search.reranked import Reranked
from acclimate.search.system import System
from acclimate.search.systems import Contender, check_reranked, check_systems, contenders, first_stages, sources_of
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

    def views(self, queries, encoded):
        return [View(self.scores(int(query.query_id[1:]))) for query in queries]

    def scores(self, row):
        values = np.random.default_rng([self.number, row]).random(40).astype(np.float32)
        values[row] = self.knows
        return values


class KnowingTokens(LateInteractionMember):
    """The same, as late interaction."""

    def views(self, queries, encoded):
        return Knowing(None, None, 0.6, 7).views(queries, encoded)


class KnowingBetter(KnowingTokens):
    """Sure of the answer."""

    def views(self, queries, encoded):
        return Knowing(None, None, 2.0, 8).views(queries, encoded)


class KnowingLess(KnowingTokens):
    """Puts the answer low."""

    def views(self, queries, encoded):
        return Knowing(None, None, 0.1, 9).views(queries, encoded)


@dataclass(frozen=True)
class View:
    values: np.ndarray

    def pool(self, depth):
        return None

    def all_scores(self):
        return self.values

    def begin(self, rows):
        pass

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
    return lambda name, first: Weighed({"first": 0.25, "reranker": 0.75}, ndcg)


RERANKED, USELESS = behind(0.99), behind(0.01)


def made_of(members, chosen, *, scorer=PERFECT):
    """The contenders by name."""
    rerankers = {} if scorer is None else {"reranker": scorer}
    found = contenders(IDS, members, chosen, rerankers, SIZES, rerank_depth=10)
    return {contender.name: contender for contender in found}


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
    for reranker in (RERANKED, USELESS, None):
        chosen = choose(IDS, ADAPTED, DEV, reranker)
        contending = [name for name in map(SystemName, chosen.ndcg) if name.steps]
        assert chosen.candidate in contending
        best = max(chosen.ndcg[name] for name in contending)
        assert chosen.ndcg[chosen.candidate] >= best - 0.02
        smaller = [name for name in contending if effort(name.facts) < effort(SystemName(chosen.candidate).facts)]
        assert all(chosen.ndcg[name] < best for name in smaller)
        equals = [name for name in contending if effort(name.facts) == effort(SystemName(chosen.candidate).facts)]
        members_alone = {*ADAPTED} if DEV.is_synthetic else set[str]()
        assert chosen.ndcg[chosen.candidate] == max(chosen.ndcg[name] for name in equals if name not in members_alone)


def test_what_is_hardly_better_gives_way_to_the_smaller_step():
    held_out = replace(HELD_OUT, queries=[Query(query.query_id, f"xyz {query.query_id}") for query in QUERIES])
    members = {**MEMBERS, "dense:adapted": Knowing(None, None, 0.1, 2)}
    reached = choose(IDS, members, held_out, None).ndcg
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
        chosen = choose(IDS, certain, replace(held_out, queries=strange), None)
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
    chosen = choose(IDS, worse, HELD_OUT, None)
    assert set(chosen.weights["hybrid:adapted"]) == {"bm25", "dense", "late-interaction:adapted"}
    assert set(chosen.weights["hybrid:tuned"]) == {"bm25", "dense", "late-interaction"}


def test_no_reranker_is_no_reranked_system():
    chosen = choose(IDS, ADAPTED, HELD_OUT, None)
    assert chosen.reranker_weights == {}
    assert not [name for name in chosen.ndcg if "+" in name]
    assert not [c for c in made_of(ADAPTED, chosen, scorer=None).values() if c.name.is_reranked]


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
        weights = choose(IDS, members, held_out, None).weights["hybrid:adapted"]
        assert ("sparse:adapted" in weights) is not held_out.is_synthetic
        assert ("bm25" in weights) is held_out.is_synthetic


HEADLINE = "bm25+reranker@1000=1"


def test_where_only_a_reranker_was_trained_the_candidate_is_what_it_reranks():
    for reranker in (RERANKED, USELESS):
        assert choose(IDS, MEMBERS, HELD_OUT, reranker).candidate == "hybrid+reranker"
    assert choose(IDS, MEMBERS, HELD_OUT, None).candidate in ("hybrid:equal", "hybrid:tuned")
    by_name = {HEADLINE: 0.5, "dense+reranker": 0.4, "hybrid+reranker@40=.5": 0.3}
    asked = []

    def weigh(name, first):
        asked.append(name)
        return Weighed({"first": 1 - (name.weight or 0.7), "reranker": name.weight or 0.7}, by_name[name])

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
        first = [hit.doc_id for hit in made["bm25"].retriever.search([query], 12)]
        hits = alone.retriever.search([query], 12)
        ranked = [hit.doc_id for hit in hits]
        assert sorted(ranked[:5]) == sorted(first[:5]) and ranked[5:] == first[5:]
        assert all(before.score > after.score for before, after in pairwise(hits[5:]))
        assert not hits[5:] or hits[5].score < min(hit.score for hit in hits[:5])


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
