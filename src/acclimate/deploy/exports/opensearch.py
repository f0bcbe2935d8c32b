"""OpenSearch 2.19 or later: a mapping, bulk files, and the system as a hybrid query with a search pipeline.

See `search_engines` for what is exact and what is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acclimate.deploy.exports import search_engines, simulated_engine
from acclimate.deploy.exports.formats import Written
from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.source import DENSE, LEXICAL, Source


def write(source: Source, folder: Path) -> Written:
    """See the package."""
    weights = simulated_engine.weights_of(source, "OpenSearch")
    names = list(weights or source.system.sources)
    requests = {"mapping.json": _mapping(source), "query.json": query(source, names)}
    if len(names) > 1:
        requests["pipeline.json"] = {"phase_results_processors": [_processor(names, weights)]}
    return search_engines.write(source, folder, "OpenSearch", requests, weights)


def _mapping(source: Source) -> dict[str, Any]:
    fields: dict[str, Any] = {name: {"type": "keyword"} for name in ("id", "document")}
    fields |= {"number": {"type": "integer"}, "title": {"type": "text"}, "text": {"type": "text"}}
    method = {"name": "hnsw", "engine": "faiss", "space_type": "innerproduct"}
    for name, kind in source.kinds.items():
        if kind in LEXICAL:
            fields[identifier(name)] = {"type": "rank_features"}
        elif kind == DENSE:
            fields[identifier(name)] = {"type": "knn_vector", "dimension": source.dim(name), "method": method}
    return {"settings": {"index.knn": True}, "mappings": {"dynamic": "strict", "properties": fields}}


def _processor(names: list[str], weights: dict[str, float]) -> dict[str, Any]:
    if not weights:
        return {
            "score-ranker-processor": {"combination": {"technique": "rrf"}}
        }  # its rank constant is 60, as in the run
    parts = [weights[name] for name in names[:-1]]
    parts.append(round(1 - sum(parts), 6))  # weights must sum to 1
    combination = {"technique": "arithmetic_mean", "parameters": {"weights": parts}}
    return {"normalization-processor": {"normalization": {"technique": "min_max"}, "combination": combination}}


def query(source: Source, names: list[str]) -> dict[str, Any]:
    """A search body with placeholders: {{k}}, and {{MEMBER}} for the query as encoded by a member."""
    clauses = [_clause(source, name) for name in names]
    depth = source.system.depth
    hybrid = {"hybrid": {"queries": clauses, "pagination_depth": depth}} if len(clauses) > 1 else clauses[0]
    body = {"query": hybrid, "size": "{{k}}", "_source": ["id", "document", "title", "text"]}
    return body | ({"collapse": {"field": "document"}} if source.run.input.parents else {})


def _clause(source: Source, name: str) -> dict[str, Any]:
    field, value = identifier(name), "{{" + identifier(name) + "}}"
    if source.kinds[name] == DENSE:
        return {"knn": {field: {"vector": value, "k": source.system.depth}}}
    return {"neural_sparse": {field: {"query_tokens": value}}}
