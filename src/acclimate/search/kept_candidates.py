"""Candidates are found once: filters rank them, mining draws from them, teachers rate them.

What is kept of a query is the rows, who named each, and what every member thinks of it: about 3 kB. It follows from the
query, the depth and the row that joins them alone (see `system`), and from the index, whose fingerprint the store has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from acclimate.base.digests import fingerprint
from acclimate.records import Query
from acclimate.search.candidates import Candidates
from acclimate.search.kept_values import KeptValues
from acclimate.search.members import Ids, Member
from acclimate.search.system import System

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 64  # queries; a killed run loses those at hand


@dataclass(frozen=True)
class KeptCandidates:
    """What `System.candidates` says of a system with these sources and members, whose weights order nothing."""

    kept: KeptValues  # of one index and its encoder
    ids: Ids
    load: Callable[[], Mapping[str, Member]]  # called when a query's candidates are missing
    sources: Sequence[str]  # at most 8, all of them among the members
    members: Sequence[str]
    depth: int = 100

    def candidates(
        self,
        queries: Sequence[Query],
        joined_rows: Sequence[int] = (),
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Iterator[Candidates]:
        """Query by query: the union of the sources' best, in row order, scored by the members.

        joined_rows: none, or one for each query, which joins what is found for it whether it was named or not.
        """
        for start in range(0, len(queries), _AT_ONCE):
            some, rows = queries[start : start + _AT_ONCE], joined_rows[start : start + _AT_ONCE]
            keys = [self._key(query, rows[place] if rows else None) for place, query in enumerate(some)]
            kept = self.kept.get(keys)
            missing = {place: key for place, key in enumerate(keys) if not self._is_whole(kept.get(key))}
            if missing:
                searched = self._system.candidates(
                    [some[place] for place in missing], [rows[place] for place in missing] if rows else ()
                )
                fresh = {
                    key: self._packed(candidates) for key, candidates in zip(missing.values(), searched, strict=True)
                }
                self.kept.put(fresh)
                kept |= fresh
            yield from (self._unpacked(query, kept[key]) for query, key in zip(some, keys, strict=True))
            progress(start + len(some), len(queries))

    @cached_property
    def _system(self) -> System:
        return System(self.ids, self.load(), self.sources, dict.fromkeys(self.members, 1.0), self.depth)

    def _key(self, query: Query, joined_row: int | None) -> str:
        joined = None if joined_row is None else self.ids.doc_ids[joined_row]
        return fingerprint(query.text, joined, self.depth, list(self.sources), list(self.members))

    @property
    def _width(self) -> int:
        return 4 + 1 + 4 * len(self.members)  # bytes of a row

    def _is_whole(self, packed: bytes | None) -> bool:
        return packed is not None and len(packed) % self._width == 0

    def _packed(self, candidates: Candidates) -> bytes:
        """Rows, a bit for each source that named one, and members' scores, little-endian."""
        assert candidates.rows_by_source is not None
        named = np.zeros(len(candidates.rows), np.uint8)
        for bit, name in enumerate(self.sources):
            named |= np.isin(candidates.rows, candidates.rows_by_source[name]).astype(np.uint8) << bit
        scores = [candidates.scores[name].astype("<f4").tobytes() for name in self.members]
        return b"".join([candidates.rows.astype("<i4").tobytes(), named.tobytes(), *scores])

    def _unpacked(self, query: Query, packed: bytes) -> Candidates:
        n = len(packed) // self._width
        rows = np.frombuffer(packed, "<i4", n).astype(np.int64)
        named = np.frombuffer(packed, np.uint8, n, offset=4 * n)
        scores = {
            name: np.frombuffer(packed, "<f4", n, offset=(5 + 4 * place) * n).astype(np.float32)
            for place, name in enumerate(self.members)
        }
        by_source = {
            name: self._best_first(rows, scores[name], (named >> bit & 1).astype(bool))
            for bit, name in enumerate(self.sources)
        }
        return Candidates(query, rows, scores, *self.ids.documents_of(rows), by_source)

    def _best_first(
        self, rows: NDArray[np.int64], scores: NDArray[np.float32], is_named: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Those of the rows that a source named, as it ranked them."""
        named = rows[is_named]
        return named[self.ids.order(scores[is_named], named)]
