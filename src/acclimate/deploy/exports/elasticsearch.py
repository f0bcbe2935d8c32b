"""Elasticsearch 9.1 or later: a mapping, bulk files, and the system as a query of retrievers.

`linear` and `rrf` retrievers need a license that has them; see `search_engines` for what is exact and what is not.
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
from acclimate.search.candidates import RANK_CONSTANT

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CANDIDATES = 4  # num_candidates per returned candidate in approximate search
_EQUAL = 1e-6  # scores that differ by less are not scaled


def _similarity(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.float32(0.5) * (1 + cosines)


def _min_max(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high - low >= _EQUAL else np.full_like(scores, low)


ENGINE = Engine("Elasticsearch", "Elasticsearch 9.1 or later", _similarity, _min_max)


def write(source: Source, folder: Path) -> Written:
    """See the package."""
    weights = weights_of(source, ENGINE)
    requests = {"mapping.json": _mapping(source), "query.json": query(source, weights)}
    return search_engines.write(source, folder, ENGINE, requests, weights)


def _mapping(source: Source) -> dict[str, Any]:
    # Without these options Elasticsearch would keep a few bits of a vector.
    dense = {"type": "dense_vector", "similarity": "dot_product", "index_options": {"type": "hnsw"}}
    return search_engines.mapping(source, ENGINE, {"type": "sparse_vector"}, lambda dim: {**dense, "dims": dim})


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
