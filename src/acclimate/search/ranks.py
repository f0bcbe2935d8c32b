"""Ranks of synthetic queries' source documents."""

from __future__ import annotations

from collections.abc import Sequence

from acclimate.records import Retriever, SyntheticQuery


def source_ranks(queries: Sequence[SyntheticQuery], retriever: Retriever, *, depth: int) -> dict[str, int]:
    """query_id -> rank, from 1, of its source document; without queries whose source is not in the top `depth`."""
    sources = {query.query_id: query.doc_id for query in queries}
    ranks: dict[str, int] = {}
    place: dict[str, int] = {}
    for hit in retriever.search([query.as_query() for query in queries], depth):
        place[hit.query_id] = place.get(hit.query_id, 0) + 1
        if hit.doc_id == sources[hit.query_id]:
            ranks[hit.query_id] = place[hit.query_id]
    return ranks
