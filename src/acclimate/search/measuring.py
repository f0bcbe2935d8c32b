"""nDCG@10 of one retriever on one set of judged queries, query by query: what curves and choices of settings rest on.

`stages.evaluate` measures a run's systems at its end, with latencies; this measures one thing on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from acclimate.base.files import fingerprint
from acclimate.measure.measures import MAIN, per_query
from acclimate.records import Qrel, Query, Retriever
from acclimate.search.folded import Folded
from acclimate.search.members import Ids, Member
from acclimate.search.systems import system_of
from acclimate.search.weights import LEFT_OUT, HeldOut
from acclimate.search.without import Without

_K = 10


class Judged(NamedTuple):
    """Queries whose relevant documents are known."""

    name: str  # as people read it: "83 synthetic queries"
    queries: Sequence[Query]
    qrels: Sequence[Qrel]
    synthetic: bool
    left_out: Mapping[str, Collection[str]] = MappingProxyType({})  # query_id -> documents that are the query itself

    @property
    def fingerprint(self) -> str:
        left_out = {query_id: sorted(docs) for query_id, docs in self.left_out.items()}
        return fingerprint(sorted(self.queries), sorted(self.qrels), left_out)


def judged(held_out: HeldOut, ids: Ids) -> Judged:
    """Held-out queries with their answers as judgments of documents."""
    qrels: list[Qrel] = []
    left_out: dict[str, list[str]] = {}
    for query, grades in zip(held_out.queries, held_out.answers, strict=True):
        for row, grade in grades.items():
            doc_id = ids.parents.get(ids.doc_ids[row], ids.doc_ids[row])
            if grade == LEFT_OUT:
                left_out.setdefault(query.query_id, []).append(doc_id)
            else:
                qrels.append(Qrel(query.query_id, doc_id, grade))
    return Judged(str(held_out), held_out.queries, qrels, held_out.synthetic, left_out)


def alone(ids: Ids, members: Mapping[str, Member], name: str) -> Retriever:
    """One member as a retriever of documents."""
    return documents(system_of(ids, members, {name: 1.0}), ids)


def documents(retriever: Retriever, ids: Ids) -> Retriever:
    """The same, finding documents also where the corpus is one of passages."""
    return Folded(retriever, ids.parents) if ids.parents else retriever


def ndcg(retriever: Retriever, on: Judged) -> dict[str, float]:
    """query_id -> nDCG@10, in [0, 1]. Raises DataError when no query has a relevant document."""
    return per_query(Without(retriever, on.left_out).search(on.queries, _K), on.qrels, [MAIN])[MAIN]


def mean(values: Mapping[str, float]) -> float:
    """Of the values of at least one query."""
    return sum(values[query_id] for query_id in sorted(values)) / len(values)
