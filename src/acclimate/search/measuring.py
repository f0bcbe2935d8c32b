"""nDCG@10 of one retriever on one set of judged queries, query by query: what curves and choices of settings rest on;
and the runs that `stages.evaluate` measures at a run's end, with latencies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from acclimate.corpus.formats.trec import write_run
from acclimate.corpus.judged import Judged
from acclimate.measure.measures import MAIN, per_query
from acclimate.records import Query, Retriever, ScoredDoc
from acclimate.search.members import Ids, Member
from acclimate.search.systems import Contender, of_documents, system_of
from acclimate.search.without import Without

_K = 10
_WARM_UP = 2  # queries answered before the clock counts


def member_alone(ids: Ids, members: Mapping[str, Member], name: str) -> Retriever:
    """One member as a retriever of documents."""
    return of_documents(system_of(ids, members, {name: 1.0}), ids)


def ndcg(retriever: Retriever, judged: Judged) -> dict[str, float]:
    """query_id -> nDCG@10, in [0, 1]. Raises DataError when no query has a relevant document."""
    hits = Without(retriever, judged.self_matches.left_out).search(judged.queries, _K)
    run = [hit._replace(score=-float(rank)) for rank, hit in enumerate(hits)]  # its order counts, of equal scores, too
    return per_query(run, judged.qrels, [MAIN])[MAIN]


def mean(values: Mapping[str, float]) -> float:
    """Of the values of at least one query."""
    return sum(values[query_id] for query_id in sorted(values)) / len(values)


def write_timed_run(
    contender: Contender, queries: Sequence[Query], k: int, path: Path, progress: Callable[[int], None]
) -> list[float]:
    """Write the run of a system, query by query; returns the seconds of each, after a few that do not count."""
    contender.retriever.search(queries[:_WARM_UP], k)
    seconds: list[float] = []

    def answers() -> Iterator[ScoredDoc]:
        for query in queries:
            started = contender.clock()
            hits = contender.retriever.search([query], k)
            seconds.append(contender.clock() - started)
            progress(len(seconds))
            yield from hits

    write_run(path, answers(), tag=contender.name)
    return seconds
