"""The (query, document) pairs that an LLM grades, and the text it is shown of each document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from acclimate.base.draw import draw
from acclimate.records import Query
from acclimate.run.run import Run
from acclimate.search.views import Views


class Pair(NamedTuple):
    """A query, and a document to grade for it."""

    query_id: str
    text: str  # of the query
    doc_id: str
    is_control: bool = False  # drawn at random


def pairs_of(run: Run, queries: Sequence[Query], pool: Mapping[str, Sequence[str]]) -> Iterator[Pair]:
    """The pooled documents of each query, then one random document outside the pool as a control."""
    doc_ids = list(run.input.documents)
    for query in queries:
        pooled = pool.get(query.query_id, ())
        for doc_id in pooled:
            yield Pair(*query, doc_id)
        if len(doc_ids) > len(pooled):
            start = draw(run.seed, "control", query.query_id) % len(doc_ids)
            order = (doc_ids[(start + step) % len(doc_ids)] for step in range(len(doc_ids)))
            yield Pair(*query, next(doc_id for doc_id in order if doc_id not in pooled), is_control=True)


def texts_of(run: Run, queries: Sequence[Query], pairs: Sequence[Pair]) -> list[str]:
    """The text shown for each pair: the document, or of a split one the passage nearest to the query."""
    documents, ids = run.input.documents, run.base.ids
    if not ids.parents:
        return [documents[pair.doc_id].default_text() for pair in pairs]
    wanted = {pair.doc_id for pair in pairs}
    rows: dict[str, list[int]] = {doc_id: [] for doc_id in wanted}
    for row, doc_id in enumerate(ids.doc_ids):
        if (parent := ids.parents.get(doc_id, doc_id)) in wanted:
            rows[parent].append(row)
    by_id = {query.query_id: query for query in queries}
    views, dense = Views(), {"dense": run.base.members["dense"]}

    def shown(pair: Pair) -> str:
        passages = np.array(rows[pair.doc_id], dtype=np.int64)
        if not len(passages):
            return documents[pair.doc_id].default_text()
        (seen,) = views.of([by_id[pair.query_id]], dense)
        nearest = passages[int(seen["dense"].scores(passages).argmax())]
        return run.input.corpus[ids.doc_ids[nearest]].default_text()

    return [shown(pair) for pair in pairs]
