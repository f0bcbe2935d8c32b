"""The lists of candidates to score for each query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from acclimate.base.spilled import collect
from acclimate.records import Query, SyntheticQuery
from acclimate.search.candidates import Candidates, Find, best, fuse
from acclimate.search.members import Ids

if TYPE_CHECKING:
    from numpy.typing import NDArray


class CandidateFinder(NamedTuple):
    """What finds the candidates of queries, and ranks them until a teacher is chosen."""

    find: Find
    ids: Ids
    members: Sequence[str]  # that score every candidate
    weights: Mapping[str, float] = MappingProxyType({})  # of members, if one retriever ranks the candidates

    @property
    def order(self) -> Mapping[str, float]:
        """Weights of members that decide which candidates are the best; without `weights`, all are equal."""
        return self.weights or dict.fromkeys(self.members, 1 / len(self.members))


def restricted_to(sources: Sequence[str], find: Find) -> Find:
    """Restrict `find` to candidates of these sources, and the extra row."""

    def find_named(queries: Sequence[Query], extra_rows: Sequence[int]) -> Iterator[Candidates]:
        rows = extra_rows or [None] * len(queries)
        for candidates, row in zip(find(queries, extra_rows), rows, strict=True):
            yield candidates.named_by(sources, row)

    return find_named


def lists_of(
    queries: Sequence[SyntheticQuery],
    log: Sequence[Query],
    finder: CandidateFinder,
    n_ways: int,
    scratch: Path | None,
) -> tuple[Sequence[Candidates], list[int | None]]:
    """The `n_ways` best candidates of each query, in row order, and the row of its source document.

    The source is included wherever it ranks; log queries have none. scratch: a folder to hold lists; None: memory.
    """
    find, ids, order = finder.find, finder.ids, finder.order
    rows = [ids.row[query.doc_id] for query in queries]
    pools = chain(find([query.as_query() for query in queries], rows), find(log, ()))
    sources = [*rows, *(None for _ in log)]
    lists = (best(pool, ids, order, n_ways, source) for pool, source in zip(pools, sources, strict=True))
    return collect(lists, scratch), sources


def windows_of(
    candidates: Candidates, source: int | None, order: Mapping[str, float], ids: Ids, size: int
) -> list[Candidates]:
    """Lists of the source document and the `size` best others, the next `size` ones, and so on (UDAPDR).

    An incomplete list is dropped unless it is the only one. size: 0: a single list.
    """
    if not size:
        return [candidates]
    ranked = ids.order(fuse(candidates, order), candidates.rows)
    is_source = candidates.rows[ranked] == source
    others = ranked[~is_source]
    parts = [others[start : start + size] for start in range(0, max(1, len(others) - size + 1), size)]
    return [candidates.select(np.sort(np.concatenate([ranked[is_source], part]))) for part in parts]


def rank_of_source(scores: NDArray[np.floating], candidates: Candidates, source: int, ids: Ids) -> int:
    """Rank of the source, from 1, ties by id."""
    return 1 + int(np.flatnonzero(candidates.rows[ids.order(scores, candidates.rows)] == source)[0])
