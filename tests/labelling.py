"""Helpers for tests of labels: queries whose source ranks high, and scorers of different quality."""

from __future__ import annotations

import numpy as np

from acclimate.base.testing import FakeScorer
from acclimate.corpus.judged_queries import SYNTHETIC, JudgedQueries
from acclimate.learn.teachers.lists import CandidateFinder
from acclimate.records import Qrel, SyntheticQuery
from acclimate.search.candidates import Candidates
from acclimate.search.members import Ids
from acclimate.stages.label import RERANKER

DOC_IDS = [f"d{n:02}" for n in range(50)]
IDS = Ids(DOC_IDS)
MEMBERS = ("bm25", "dense")
QUERIES = [SyntheticQuery(f"q{n:02}", f"query about {n}", DOC_IDS[n], -1.0) for n in range(40)]
TRAIN, DEV = QUERIES[:25], QUERIES[25:]
HELD_OUT = JudgedQueries(
    SYNTHETIC, [query.as_query() for query in DEV], [Qrel(query.query_id, query.doc_id, 1) for query in DEV]
)


def draw(*parts):
    """A random generator seeded by the parts."""
    return np.random.default_rng(list("|".join(map(str, parts)).encode()))


def find(queries, also=()):
    """Candidates: all documents, with the source near the top for both members."""
    for query in queries:
        source = int(query.text.split()[-1])
        scores = {}
        for at, name in enumerate(MEMBERS):
            values = draw(query.text, name).random(50).astype(np.float32)
            values[source] = 0.85 + 0.05 * at
            scores[name] = values
        yield Candidates(query, np.arange(50), scores)


FINDER = CandidateFinder(find, IDS, MEMBERS)


def find_named(queries, rows=()):
    """BM25 names the even rows among the first thirty, dense retrieval the last thirty."""
    for number, candidates in enumerate(find(queries)):
        named = {"bm25": np.arange(0, 30, 2), "dense": np.arange(20, 50)}
        by_source = {
            name: near[np.argsort(-candidates.scores[name][near], kind="stable")] for name, near in named.items()
        }
        rows_here = np.union1d(np.concatenate([*by_source.values()]), rows[number : number + 1]).astype(int)
        scores = {name: values[rows_here] for name, values in candidates.scores.items()}
        yield Candidates(candidates.query, rows_here, scores, rows_by_source=by_source)


class Counting(FakeScorer):
    """Records the queries it scores."""

    def score(self, pairs):
        asked.update(query.text for query, _ in pairs)
        return super().score(pairs)


asked: set[str] = set()


PERFECT = Counting(lambda text, doc_id: 5.0 if int(text.split()[-1]) == int(doc_id[1:]) else -3.0)
NOISE = Counting(lambda text, doc_id: float(draw(text, doc_id, "noise").random()))


def teacher_of(quality):
    """A scorer that is right with probability `quality`, drawn by query."""

    def rate(text, doc_id):
        is_source = int(text.split()[-1]) == int(doc_id[1:])
        knows = draw(text, quality, "knows").random() < quality
        return float(draw(text, doc_id, quality).random()) + (10.0 if is_source and knows else 0.0)

    return FakeScorer(rate)


def named(made):
    return {row["name"]: row for row in made.teachers}


LLM = "likelihood:some/llm"
ALL = ("bm25", "dense", RERANKER, LLM)
