"""Elasticsearch 9.1 or later: a mapping, bulk files, and the system as a query of retrievers.

`linear` and `rrf` retrievers need a license that has them; see `search_engines` for what is exact and what is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acclimate.deploy.exports import search_engines, simulated_engine
from acclimate.deploy.exports.formats import Written
from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.source import DENSE, LEXICAL, Source
from acclimate.search.candidates import RANK_CONSTANT

_CANDIDATES = 4  # num_candidates per returned candidate in approximate search


def write(source: Source, folder: Path) -> Written:
    """See the package."""
    weights = simulated_engine.weights_of(source, "Elasticsearch")
    requests = {"mapping.json": _mapping(source), "query.json": query(source, weights)}
    return search_engines.write(source, folder, "Elasticsearch", requests, weights)


def _mapping(source: Source) -> dict[str, Any]:
    fields: dict[str, Any] = {name: {"type": "keyword"} for name in ("id", "document")}
    fields |= {"number": {"type": "integer"}, "title": {"type": "text"}, "text": {"type": "text"}}
    for name, kind in source.kinds.items():
        if kind in LEXICAL:
            fields[identifier(name)] = {"type": "sparse_vector"}
        elif kind == DENSE:
            fields[identifier(name)] = {"type": "dense_vector", "dims": source.dim(name), "similarity": "dot_product"}
    return {"mappings": {"dynamic": "strict", "properties": fields}}


def query(source: Source, weights: dict[str, float]) -> dict[str, Any]:
    """A search body with placeholders: {{k}}, and {{MEMBER}} for the query as encoded by a member."""
    depth = source.system.depth
    retrievers = {name: _retriever(source, name) for name in weights or source.system.sources}
    if len(retrievers) == 1:
        (retriever,) = retrievers.values()
    elif weights:
        weighted = [
            {"retriever": retriever, "weight": weights[name], "normalizer": "minmax"}
            for name, retriever in retrievers.items()
        ]
        retriever = {"linear": {"retrievers": weighted, "rank_window_size": depth}}
    else:
        ranks = {"rank_constant": RANK_CONSTANT, "rank_window_size": depth}
        retriever = {"rrf": {"retrievers": list(retrievers.values()), **ranks}}
    body = {"retriever": retriever, "size": "{{k}}", "_source": ["id", "document", "title", "text"]}
    return body | ({"collapse": {"field": "document"}} if source.run.input.parents else {})


def _retriever(source: Source, name: str) -> dict[str, Any]:
    field, value, depth = identifier(name), "{{" + identifier(name) + "}}", source.system.depth
    if source.kinds[name] == DENSE:
        return {"knn": {"field": field, "query_vector": value, "k": depth, "num_candidates": _CANDIDATES * depth}}
    return {"standard": {"query": {"sparse_vector": {"field": field, "query_vector": value, "prune": False}}}}
