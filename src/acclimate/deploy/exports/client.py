"""Fusion in the client, for engines that cannot fuse scores as a system does: they give candidates and scores.

`system.json` in an export has the sources of candidates, their depth, and the weight of each member. Scores are fused
as in the run, by `search.candidates.fuse`. Documents are numbered in the order of their ids, which breaks ties.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from acclimate.base.files import read_json, write_json
from acclimate.deploy.exports.source import Source
from acclimate.records import Query
from acclimate.search.candidates import Candidates, fuse

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FILE = "system.json"


class Fusion(NamedTuple):
    """How candidates become a ranking."""

    sources: list[str]  # members that name candidates
    weights: dict[str, float]  # of members; without any, the sources' ranks are added
    depth: int  # candidates that each source names

    @classmethod
    def open(cls, folder: Path) -> Fusion:
        """From the folder of an export."""
        system = read_json(folder / _FILE)
        return cls(system["sources"], system["weights"], system["depth"])

    @classmethod
    def save(cls, source: Source, folder: Path) -> None:
        """Write it into the folder of an export."""
        system = source.system
        fusion = cls(list(system.sources), dict(system.weights), system.depth)
        write_json(folder / _FILE, {"system": str(source.name), **fusion._asdict()})

    def ranked(
        self,
        named: Mapping[str, Sequence[int]],
        scores_of: Callable[[str, NDArray[np.int64]], NDArray[np.float32]],
    ) -> list[tuple[int, float]]:
        """(number, score) of each candidate, best first.

        named: source -> numbers of documents, best first. scores_of: (member, numbers) -> (n,) its scores of these.
        """
        numbers = {name: np.asarray(best, np.int64) for name, best in named.items()}
        rows = np.unique(np.concatenate([*numbers.values(), np.empty(0, np.int64)]))
        scores = {name: scores_of(name, rows).astype(np.float32) for name in self.weights}
        total = fuse(Candidates(Query("", ""), rows, scores, rows_by_source=numbers), self.weights)
        order = np.lexsort((rows, -total))
        return [(int(rows[place]), float(total[place])) for place in order]


def first_of_documents(
    ranked: Sequence[tuple[int, float]], document_of: Mapping[int, str], k: int
) -> list[tuple[int, float]]:
    """The best passage of each of the `k` best documents, ties by the document's id."""
    best: dict[str, tuple[int, float]] = {}
    for number, score in ranked:
        best.setdefault(document_of[number], (number, score))
    order = sorted(best, key=lambda document: (-best[document][1], document))
    return [best[document] for document in order[:k]]
