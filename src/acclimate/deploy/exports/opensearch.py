"""OpenSearch 2.19 or later: a mapping, bulk files, and the system as a hybrid query with a search pipeline.

See `search_engines` for what is exact and what is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.deploy.exports import search_engines
from acclimate.deploy.exports.formats import Written
from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.simulated_engine import Engine, weights_of
from acclimate.deploy.exports.source import DENSE, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

_METHOD = {"name": "hnsw", "engine": "faiss", "space_type": "innerproduct"}
_CANDIDATES = 4  # vectors that the search of the graph keeps, per returned candidate
_LOWEST = 0.001  # scaled score of the last document of a list


def _similarity(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(cosines < 0, 1 / (1 + abs(cosines)), 1 + cosines)


def _min_max(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = scores.min(), scores.max()
    return np.maximum((scores - low) / (high - low), _LOWEST) if high > low else np.ones_like(scores)


ENGINE = Engine("OpenSearch", "OpenSearch 2.19 or later with its plugins k-NN and neural-search", _similarity, _min_max)


def write(source: Source, folder: Path) -> Written:
    """See the package."""
    weights = weights_of(source, ENGINE)
    names = list(weights or source.system.sources)
    requests = {"mapping.json": _mapping(source), "query.json": query(source, names)}
    if len(names) > 1:
        requests["pipeline.json"] = {"phase_results_processors": [_processor(names, weights)]}
    return search_engines.write(source, folder, ENGINE, requests, weights)


def _mapping(source: Source) -> dict[str, Any]:
    dense = {"type": "knn_vector", "method": _METHOD}
    settings = {"index.knn": True, "index.number_of_shards": 1}  # ranks are fused in each shard, so one is exact
    mapping = search_engines.mapping(source, ENGINE, {"type": "rank_features"}, lambda dim: {**dense, "dimension": dim})
    return {"settings": settings, **mapping}


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
    """A search body with placeholders: {{k}}, and {{MEMBER}} for the query as encoded by a member.

    Of a hybrid query OpenSearch collapses no passages before version 3.1; then all candidates are fetched.
    """
    clauses, depth = [_clause(source, name) for name in names], source.system.depth
    body = {"query": clauses[0], "size": "{{k}}", "_source": ["id", "document", "title", "text"]}
    if len(clauses) > 1:
        body["query"] = {"hybrid": {"queries": clauses, "pagination_depth": depth}}
        return body | ({"size": depth * len(clauses)} if source.run.input.parents else {})
    return body | ({"collapse": {"field": "document"}} if source.run.input.parents else {})


def _clause(source: Source, name: str) -> dict[str, Any]:
    field, value = identifier(name), "{{" + identifier(name) + "}}"
    if source.kinds[name] == DENSE:
        depth = source.system.depth
        return {"knn": {field: {"vector": value, "k": depth, "method_parameters": {"ef_search": _CANDIDATES * depth}}}}
    return {"neural_sparse": {field: {"query_tokens": value}}}
