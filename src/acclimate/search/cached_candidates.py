"""Cache of candidates, shared by the stages that rank (filter), sample (mine) and score (label) them.

Stored per query: rows, which source found each, and every member's scores, about 3 kB. They depend only on the query's
text, its extra row, how candidates are found (`Finding`), and the index, whose fingerprint the cache has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import tee
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from acclimate.base import distributed
from acclimate.base.digests import fingerprint
from acclimate.records import Query
from acclimate.search.candidates import Candidates
from acclimate.search.members import Ids, Member
from acclimate.search.system import System
from acclimate.search.value_cache import ValueCache

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 64  # queries; what an interrupted run loses


class Retrievers(NamedTuple):
    """What candidates are found with."""

    ids: Ids
    members: Mapping[str, Member]  # by name; each is loaded on first use


@dataclass(frozen=True)
class Finding:
    """How candidates are found and stored: as by `System.candidates` with these sources and members."""

    sources: tuple[str, ...]  # at most 8, all of them among the members
    members: tuple[str, ...]
    depth: int = 100

    def key(self, query: Query, joined: str | None) -> str:
        """The cache key of a query. joined: id of the extra document, if any."""
        return fingerprint(query.text, joined, self.depth, list(self.sources), list(self.members))

    def find(self, retrievers: Retrievers, asked: tuple[Sequence[Query], Sequence[int]]) -> list[bytes]:
        """The values to store for each query. asked: queries and extra rows, see `CachedCandidates.candidates`."""
        members = {name: retrievers.members[name] for name in self.members}
        system = System(retrievers.ids, members, self.sources, dict.fromkeys(members, 1.0), self.depth)
        return [self._packed(candidates) for candidates in system.candidates(*asked)]

    def is_whole(self, packed: bytes | None) -> bool:
        """False if there is no value, or one of another version."""
        return packed is not None and len(packed) % self._width == 0

    @property
    def _width(self) -> int:
        return 4 + 1 + 4 * len(self.members)  # bytes per row

    def _packed(self, candidates: Candidates) -> bytes:
        """Rows, a bit for each source that found one, and members' scores, little-endian."""
        assert candidates.rows_by_source is not None
        named = np.zeros(len(candidates.rows), np.uint8)
        for bit, name in enumerate(self.sources):
            named |= np.isin(candidates.rows, candidates.rows_by_source[name]).astype(np.uint8) << bit
        scores = [candidates.scores[name].astype("<f4").tobytes() for name in self.members]
        return b"".join([candidates.rows.astype("<i4").tobytes(), named.tobytes(), *scores])

    def unpacked(self, query: Query, packed: bytes, ids: Ids) -> Candidates:
        """The candidates stored for a query."""
        n = len(packed) // self._width
        rows = np.frombuffer(packed, "<i4", n).astype(np.int64)
        named = np.frombuffer(packed, np.uint8, n, offset=4 * n)
        scores = {
            name: np.frombuffer(packed, "<f4", n, offset=(5 + 4 * place) * n).astype(np.float32)
            for place, name in enumerate(self.members)
        }
        by_source = {
            name: _best_first(rows, scores[name], (named >> bit & 1).astype(bool), ids)
            for bit, name in enumerate(self.sources)
        }
        return Candidates(query, rows, scores, *ids.documents_of(rows), by_source)


def _best_first(
    rows: NDArray[np.int64], scores: NDArray[np.float32], is_named: NDArray[np.bool_], ids: Ids
) -> NDArray[np.int64]:
    """The rows that a source found, in its ranking."""
    named = rows[is_named]
    return named[ids.order(scores[is_named], named)]


class _Block(NamedTuple):
    """Some queries, and what is cached for them."""

    queries: Sequence[Query]
    keys: Sequence[str]
    cached: Mapping[str, bytes]
    missing: Mapping[int, str]  # position -> key
    asked: tuple[Sequence[Query], Sequence[int]]  # of the missing queries


@dataclass(frozen=True)
class CachedCandidates:
    """Candidates of queries, cached or found, also by other processes of the run."""

    cache: ValueCache  # of one index and its encoder
    retrievers: Retrievers
    maker: Callable[[], Retrievers]  # makes the same in another process; pickled
    finding: Finding

    def candidates(
        self,
        queries: Sequence[Query],
        extra_rows: Sequence[int] = (),
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Iterator[Candidates]:
        """Query by query: the union of the sources' best, in row order, scored by the members.

        extra_rows: empty, or one row per query that is added to its candidates whether found or not.
        """
        starts = range(0, len(queries), _AT_ONCE)
        blocks, ahead = tee(self._block(queries, extra_rows, start) for start in starts)
        asked = (block.asked for block in ahead if block.missing)
        answers = distributed.shared(self.retrievers, self.maker, self.finding.find, asked)
        for start, block in zip(starts, blocks, strict=True):
            cached = dict(block.cached)
            if block.missing:
                fresh = dict(zip(block.missing.values(), next(answers), strict=True))
                self.cache.put(fresh)
                cached |= fresh
            for query, key in zip(block.queries, block.keys, strict=True):
                yield self.finding.unpacked(query, cached[key], self.retrievers.ids)
            progress(start + len(block.queries), len(queries))

    def _block(self, queries: Sequence[Query], extra_rows: Sequence[int], start: int) -> _Block:
        some, rows = queries[start : start + _AT_ONCE], extra_rows[start : start + _AT_ONCE]
        doc_ids = self.retrievers.ids.doc_ids
        joined = [doc_ids[row] for row in rows] if rows else [None] * len(some)
        keys = [self.finding.key(query, doc_id) for query, doc_id in zip(some, joined, strict=True)]
        cached = self.cache.get(keys)
        missing = {place: key for place, key in enumerate(keys) if not self.finding.is_whole(cached.get(key))}
        return _Block(
            some,
            keys,
            cached,
            missing,
            ([some[place] for place in missing], [rows[place] for place in missing if rows]),
        )
