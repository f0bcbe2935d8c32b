"""How well an engine agrees with the run: overlap of the first ten on some of the queries that measure the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from acclimate.base.progress import Progress
from acclimate.base.text import counted
from acclimate.deploy.exports.source import Source

_FIRST = 10


def check(source: Source, search: Callable[[str, int], Sequence[tuple[Any, ...]]]) -> dict[str, Any]:
    """Compare an engine's search with the run's. search: (query, k) -> rows that begin with a document id, best first.

    Returns the number of `queries`; `overlap`, the mean share of the first ten that both find; and `median_ms`, the
    engine's time from text to ids.
    """
    queries, progress = source.queries, Progress("export", "queries asked")
    expected: dict[str, set[str]] = {query.query_id: set() for query in queries}
    for hit in source.search(queries, _FIRST):
        expected[hit.query_id].add(hit.doc_id)
    shares: list[float] = []
    seconds: list[float] = []
    for number, query in enumerate(queries):
        progress(number, len(queries))
        started = time.perf_counter()
        ids = {doc_id for doc_id, *_ in search(query.text, _FIRST)}
        seconds.append(time.perf_counter() - started)
        ours = expected[query.query_id]
        shares.append(len(ids & ours) / max(len(ids), len(ours)) if ids or ours else 1.0)
    progress(len(queries), len(queries))
    return {
        "queries": len(queries),
        "overlap": round(sum(shares) / max(1, len(shares)), 4),
        "median_ms": round(1000 * median(seconds), 1) if seconds else 0.0,
    }


def line(checked: dict[str, Any], engine: str) -> str:
    """The result of `check` as a sentence."""
    return (
        f"{engine} finds {checked['overlap']:.2f} of this run's first ten for {counted(checked['queries'], 'query')}, "
        f"in {checked['median_ms']:,.{0 if checked['median_ms'] > 10 else 1}f} ms each"
    )
