"""nDCG@10 of one retriever on one set of judged queries, query by query: what curves and choices of settings rest on.

`stages.evaluate` measures a run's systems at its end, with latencies; this measures one thing on the way.
"""

from __future__ import annotations

from collections.abc import Mapping

from acclimate.corpus.judged import Judged
from acclimate.measure.measures import MAIN, per_query
from acclimate.records import Retriever
from acclimate.search.members import Ids, Member
from acclimate.search.systems import of_documents, system_of
from acclimate.search.without import Without

_K = 10


def member_alone(ids: Ids, members: Mapping[str, Member], name: str) -> Retriever:
    """One member as a retriever of documents."""
    return of_documents(system_of(ids, members, {name: 1.0}), ids)


def ndcg(retriever: Retriever, judged: Judged) -> dict[str, float]:
    """query_id -> nDCG@10, in [0, 1]. Raises DataError when no query has a relevant document."""
    run = Without(retriever, judged.self_matches.left_out).search(judged.queries, _K)
    return per_query(run, judged.qrels, [MAIN])[MAIN]


def mean(values: Mapping[str, float]) -> float:
    """Of the values of at least one query."""
    return sum(values[query_id] for query_id in sorted(values)) / len(values)
