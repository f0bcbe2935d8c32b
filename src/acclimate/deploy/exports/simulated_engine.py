"""Simulation of Elasticsearch and OpenSearch, for the share of a run's results that they find.

Each retrieving member gives its own list. Its scores are min-max scaled within the list and added with the weights; a
document missing from a list gets nothing from it, whereas the run scores every candidate by every member. Reciprocal
ranks are added as in the run. Late interaction is left out, keeping the other weights. Ties are in the order of
loading, that of the corpus. Vector search is exact, and the index has one shard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acclimate.base.errors import SettingError
from acclimate.deploy.exports.postings import kept
from acclimate.deploy.exports.source import DENSE, LATE_INTERACTION, LEXICAL, Source
from acclimate.records import Query
from acclimate.search.bm25 import BM25
from acclimate.search.candidates import RANK_CONSTANT
from acclimate.search.members import BM25Member, Ids, Member, SparseMember
from acclimate.search.views import Views

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Engine(NamedTuple):
    """How an engine differs from the run and from other engines."""

    name: str
    needs: str  # the version and plugins that an export needs
    similarity: Callable[[NDArray[np.float32]], NDArray[np.float32]]  # its score of a vector, of the cosine
    min_max: Callable[[NDArray[np.float32]], NDArray[np.float32]]  # its min-max scaling of a list of scores


def weights_of(source: Source, engine: Engine) -> dict[str, float]:
    """Weights of the members that the engine supports, summing to 1; empty for reciprocal rank fusion.

    Raises SettingError for a system without any such member.
    """
    weights = {name: weight for name, weight in source.system.weights.items() if source.kinds[name] != LATE_INTERACTION}
    if source.system.weights and not weights:
        raise SettingError(
            f"{engine.name} has no token vectors, and {source.name} uses nothing else; expected another system"
        )
    total = sum(weights.values())
    return {name: round(weight / total, 6) for name, weight in weights.items()}


def search(source: Source, weights: dict[str, float], engine: Engine) -> Callable[[str, int], list[tuple[str, float]]]:
    """(query, k) -> ids of documents with their scores, best first."""
    depth, views = source.system.depth, Views()
    ids = _InOrder(source.system.ids.doc_ids)
    members = {name: _as_stored(source, name) for name in weights or source.system.sources}

    def scores_of(name: str, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        raw = engine.similarity(scores) if source.kinds[name] == DENSE else scores
        if len(members) == 1:
            return raw
        return engine.min_max(raw) if weights else (1 / (RANK_CONSTANT + 1 + np.arange(len(raw)))).astype(np.float32)

    def search_one(text: str, k: int) -> list[tuple[str, float]]:
        (view_of,) = views.of([Query(text, text)], members)
        totals: dict[int, float] = {}
        for name, view in view_of.items():
            rows = view.named(depth, ids)
            scores = scores_of(name, view.scores(rows)).tolist() if len(rows) else []
            for row, score in zip(rows.tolist(), scores, strict=True):
                totals[row] = totals.get(row, 0.0) + (weights.get(name, 1.0) if len(members) > 1 else 1.0) * score
        return _first_of_documents(source, sorted(totals.items(), key=lambda hit: (-hit[1], hit[0])), k)

    return search_one


def _first_of_documents(source: Source, ranked: Sequence[tuple[int, float]], k: int) -> list[tuple[str, float]]:
    best: dict[str, float] = {}
    for row, score in ranked:
        best.setdefault(source.document(source.system.ids.doc_ids[row]), score)
    return list(best.items())[:k]


class _InOrder(Ids):
    """Rows whose ties are in their own order."""

    @property
    def rank(self) -> NDArray[np.int64]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return np.arange(len(self))


class _Kept:
    """Weights as engines keep them, computed when they are read."""

    def __init__(self, weights: NDArray[np.float32]) -> None:
        self._weights = weights

    def __getitem__(self, places: slice) -> NDArray[np.float32]:
        return kept(self._weights[places])


def _as_stored(source: Source, name: str) -> Member:
    member: Any = source.system.members[name]
    if source.kinds[name] not in LEXICAL:
        return member
    if isinstance(member, BM25Member):
        weights: Any = _Kept(member.index.postings.weights)
        return BM25Member(BM25(member.index.postings._replace(weights=weights), member.index.analyzer))
    weights = _Kept(member.index.weights)
    return SparseMember(replace(member.index, weights=weights), member.query)
