"""Simulation of Elasticsearch and OpenSearch, which cannot be run here: results as their documentation defines them.

Each retrieving member gives its own list. Its scores are min-max scaled within the list and added with the weights; a
document missing from a list gets nothing from it, whereas the run scores every candidate by every member. Reciprocal
ranks are added as in the run. Late interaction is left out, keeping the other weights.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from acclimate.base.errors import SettingError
from acclimate.deploy.exports.client import first_of_documents
from acclimate.deploy.exports.source import LATE_INTERACTION, Source
from acclimate.records import Query
from acclimate.search.candidates import RANK_CONSTANT, min_max


def weights_of(source: Source, engine: str) -> dict[str, float]:
    """Weights of the members that the engine supports, summing to 1; empty for reciprocal rank fusion.

    Raises SettingError for a system without any such member.
    """
    weights = {name: weight for name, weight in source.system.weights.items() if source.kinds[name] != LATE_INTERACTION}
    if source.system.weights and not weights:
        raise SettingError(
            f"{engine} has no token vectors, and {source.name} uses nothing else; expected another system"
        )
    total = sum(weights.values())
    return {name: round(weight / total, 6) for name, weight in weights.items()}


def search(source: Source, weights: dict[str, float]) -> Callable[[str, int], list[tuple[str, float]]]:
    """(query, k) -> ids of documents with their scores, best first."""
    ids, depth = source.system.ids, source.system.depth
    members = {name: source.system.members[name] for name in weights or source.system.sources}
    views = source.system.views
    assert views is not None

    def search_one(text: str, k: int) -> list[tuple[str, float]]:
        (view_of,) = views.of([Query(text, text)], members)
        totals: dict[int, float] = {}
        for name in members:
            rows = view_of[name].named(depth, ids)
            scores = min_max(view_of[name].scores(rows)) if weights else 1 / (RANK_CONSTANT + 1 + np.arange(len(rows)))
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
                totals[row] = totals.get(row, 0.0) + weights.get(name, 1.0) * score
        ranked = sorted(totals.items(), key=lambda hit: (-hit[1], source.numbers[hit[0]]))
        documents = {row: source.document(ids.doc_ids[row]) for row in totals}
        return [(documents[row], score) for row, score in first_of_documents(ranked, documents, k)]

    return search_one
