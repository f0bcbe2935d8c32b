"""Fake members of adjustable quality, and systems made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from acclimate.base.testing import DOCS, QUERIES, FakeScorer
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.records import Qrel
from acclimate.search.bm25 import BM25
from acclimate.search.members import BM25Member, DenseMember, Ids, LateInteractionMember
from acclimate.search.names import FEEDBACK
from acclimate.search.systems import contenders
from acclimate.search.weights import ChosenWeights

IDS = Ids([doc.doc_id for doc in DOCS])
QRELS = [Qrel(query.query_id, doc.doc_id, 1) for query, doc in zip(QUERIES, DOCS, strict=True)]
HELD_OUT = JudgedQueries("synthetic", QUERIES, QRELS)
DEV = replace(HELD_OUT, split="dev")


@dataclass(frozen=True)
class Knowing(DenseMember):
    """A dense member that scores the relevant document `knows`, and others randomly in [0, 1]."""

    knows: float = 0.5
    number: int = 0

    def views(self, queries, encoded, others):
        return [View(self.scores(int(query.query_id[1:]))) for query in queries]

    def scores(self, row):
        values = np.random.default_rng([self.number, row]).random(40).astype(np.float32)
        values[row] = self.knows
        return values


class KnowingTokens(LateInteractionMember):
    """The same as a late-interaction member."""

    def views(self, queries, encoded, others):
        return Knowing(None, None, 0.6, 7).views(queries, encoded, others)


class KnowingBetter(KnowingTokens):
    """Ranks the relevant document first."""

    def views(self, queries, encoded, others):
        return Knowing(None, None, 2.0, 8).views(queries, encoded, others)


class KnowingLess(KnowingTokens):
    """Ranks the relevant document low."""

    def views(self, queries, encoded, others):
        return Knowing(None, None, 0.1, 9).views(queries, encoded, others)


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
SIZES = {"bm25": 1, "dense": 10, "late-interaction": 100, "dense:adapted": 1000, FEEDBACK: 1}
PERFECT = FakeScorer(lambda text, doc_id: float(text == QUERIES[int(doc_id[1:])].text))


def behind(ndcg):
    """A reranker that reaches this nDCG on any first stage."""
    return lambda name, first: ChosenWeights({"first": 0.25, "reranker": 0.75}, ndcg)


RERANKED, USELESS = behind(0.99), behind(0.01)


def made_of(members, chosen, *, scorer=PERFECT):
    """The contenders by name."""
    rerankers = {} if scorer is None else {"reranker": scorer}
    found = contenders(IDS, members, chosen, rerankers, SIZES, rerank_depth=10)
    return {contender.name: contender for contender in found}
