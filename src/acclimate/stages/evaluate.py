"""Every system answers the same queries: measures with intervals, paired comparisons, latency, and one verdict.

The adapted system that counts, the candidate, is chosen beforehand on other queries (held-out synthetic ones), while
the baseline is whichever unadapted system does best on these very queries: luck can only help the baseline. The verdict
is about these two; what is recommended is chosen among all (`recommend`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from acclimate.base.domains import AtLeast
from acclimate.base.draw import subset
from acclimate.base.errors import DataError
from acclimate.corpus.formats.trec import write_qrels, write_run
from acclimate.measure.compare import Comparison, compare, interval, verdict
from acclimate.measure.measures import DEEPEST, MAIN, MEASURES, per_query
from acclimate.measure.recommend import Recommendation, recommend
from acclimate.records import Qrel, Query, ScoredDoc
from acclimate.run.settings import checked
from acclimate.search.systems import Contender

_WARM_UP = 2  # queries answered before the clock counts


class Evaluated(NamedTuple):
    """What was measured."""

    systems: list[dict[str, Any]]
    comparisons: list[Comparison]
    verdict: str
    candidate: str
    baseline: str
    recommendation: Recommendation
    runs: dict[str, list[ScoredDoc]]
    per_query: dict[str, dict[str, dict[str, float]]]  # system -> measure -> query_id -> value


@checked
def evaluate(
    contenders: Sequence[Contender],
    queries: Sequence[Query],
    qrels: Sequence[Qrel],
    candidate: str,
    folder: Path,
    *,
    k: Annotated[int, AtLeast(DEEPEST)] = 100,
    max_queries: Annotated[int, AtLeast(1)] = 1000,
    rerank: tuple[str, ...] = ("hybrid",),
    rerank_depth: Annotated[int, AtLeast(1)] = 20,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluated:
    """Measure the contenders; runs go to `folder/runs/NAME.trec`. `candidate` names the adapted system that counts.

    Queries are answered one at a time, as a person would ask them, so the latencies are those of single queries, from
    text to ranking. The judgments of those measured go to `folder/qrels.trec`: with them any evaluator gives the same
    figures for the runs (`trec_eval -c`, where one finds nothing for a query). A query of which nothing is judged
    relevant counts 0. Raises DataError when that is so of all.

    Parameters
    ----------
    k
        Documents per query in a run, as many at least as the deepest measure looks at.
    max_queries
        Measure on this many queries at most; drawn where there are more.
    rerank
        Systems to measure with the reranker behind them, too.
    rerank_depth
        Documents that a reranker puts in order.
    """
    judged = {qrel.query_id for qrel in qrels}
    asked = subset([query for query in queries if query.query_id in judged], max_queries, seed)
    asked = sorted(asked, key=lambda query: query.query_id)
    kept = {query.query_id for query in asked}
    qrels = [qrel for qrel in qrels if qrel.query_id in kept]
    if not any(qrel.relevance > 0 for qrel in qrels):
        raise DataError(f"none of the {len(queries):,} queries has a relevant document; there is nothing to measure on")
    write_qrels(folder / "qrels.trec", qrels)

    systems: list[dict[str, Any]] = []
    runs: dict[str, list[ScoredDoc]] = {}
    values: dict[str, dict[str, dict[str, float]]] = {}
    for number, contender in enumerate(contenders):
        contender.retriever.search(asked[:_WARM_UP], k)
        run: list[ScoredDoc] = []
        seconds: list[float] = []
        for at, query in enumerate(asked, 1):
            started = time.perf_counter()
            run += contender.retriever.search([query], k)
            seconds.append(time.perf_counter() - started)
            progress(number * len(asked) + at, len(contenders) * len(asked))
        write_run(folder / "runs" / f"{contender.name.file_name}.trec", run, tag=contender.name)
        runs[contender.name] = run
        values[contender.name] = per_query(run, qrels)
        systems.append(_summary(contender, values[contender.name], seconds, seed))

    mean = {system["name"]: system["measures"][MAIN] for system in systems}
    baseline = max((c.name for c in contenders if not c.name.is_adapted), key=lambda name: (mean[name], name))
    comparisons = [
        _compared(values, one, other, measure, seed)
        for measure in MEASURES
        for one, other in _pairs(contenders, baseline)
    ]
    main = next(
        (c for c in comparisons if (c.system, c.baseline, c.measure) == (candidate, baseline, MAIN)),
        None,
    ) or _compared(values, candidate, baseline, MAIN, seed)
    return Evaluated(
        systems=systems,
        comparisons=comparisons,
        verdict=verdict(main),
        candidate=candidate,
        baseline=baseline,
        recommendation=recommend(systems, {name: own[MAIN] for name, own in values.items()}, MAIN, seed),
        runs=runs,
        per_query=values,
    )


def _pairs(contenders: Sequence[Contender], baseline: str) -> list[tuple[str, str]]:
    """Each adapted system against the best unadapted one, and against what it was made from."""
    names = {contender.name for contender in contenders}
    pairs: list[tuple[str, str]] = []
    for contender in contenders:
        if contender.name.is_adapted:
            others = [baseline, *({contender.name.origin} & names)]
            pairs += [(contender.name, other) for other in dict.fromkeys(others)]
    return pairs


def _compared(
    values: Mapping[str, Mapping[str, Mapping[str, float]]], one: str, other: str, measure: str, seed: int
) -> Comparison:
    return compare(values[one][measure], values[other][measure], system=one, baseline=other, measure=measure, seed=seed)


def _summary(
    contender: Contender, values: Mapping[str, Mapping[str, float]], seconds: Sequence[float], seed: int
) -> dict[str, Any]:
    p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95])
    return {
        "name": contender.name,
        "adapted": contender.name.is_adapted,
        "kind": contender.name.kind,
        "measures": {m: round(float(np.mean(list(values[m].values()))), 5) for m in MEASURES},
        "intervals": {m: [round(edge, 5) for edge in interval(values[m], seed=seed)] for m in MEASURES},
        "latency_ms": {"p50": round(float(p50), 2), "p95": round(float(p95), 2)},
        "index_bytes": contender.index_bytes,
        "weights": contender.weights,
    }
