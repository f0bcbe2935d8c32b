"""Views of queries by members, shared by systems so that each member processes a query once.

Queries come in blocks, so that a member reads its documents once per block. Results are batch-invariant: a query is
encoded by itself unless the encoder is batch-invariant (bfloat16 padding moves cosines by up to 0.002), and has
products of its own, see `vectors`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from acclimate.records import Query
from acclimate.search.members import LEXICAL, Ids

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from acclimate.search.encoded import Encoded, QueryEncoder
    from acclimate.search.members import Member, View

_QUERIES = 64  # maximum per block
_SCORES = 1 << 24  # of a block, by one member


def blocks(queries: Sequence[Query], n_docs: int) -> Iterator[Sequence[Query]]:
    """The queries in blocks, small enough to hold a score of each document."""
    at_once = max(1, min(_QUERIES, _SCORES // max(1, n_docs)))
    for start in range(0, len(queries), at_once):
        yield queries[start : start + at_once]


class CachedView:
    """A member's view of a query that caches the documents found for it."""

    def __init__(self, view: View, *, above: float | None) -> None:
        """above: score that a document must exceed to be found; None: any."""
        self._view, self._above = view, above
        self._named: dict[int, NDArray[np.int64]] = {}  # by depth

    def begin(self, rows: NDArray[np.int64]) -> None:
        """Start scoring these documents."""
        self._view.begin(rows)

    def scores(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n_rows,) scores of these documents."""
        return self._view.scores(rows)

    def named(self, depth: int, ids: Ids, within: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """The rows of the `depth` best documents, best first, among `within` or all."""
        if within is not None:
            return ids.best(self._view.scores(within), depth, above=self._above, rows=within)
        if depth not in self._named:
            rows = self._view.pool(depth)
            scores = self._view.all_scores() if rows is None else self._view.scores(rows)
            self._named[depth] = ids.best(scores, depth, above=self._above, rows=rows)
        return self._named[depth]


class Views:
    """Views of the current block of queries, cached until the next.

    Systems that share it, and are asked the same block in turn, share their members' work. Members are identified by
    name.
    """

    def __init__(self) -> None:
        self._places: dict[Query, int] = {}  # of the current block
        self._encoded: dict[int, list[Encoded]] = {}  # by the encoder's id()
        self._by_member: dict[str, list[CachedView]] = {}

    def of(self, queries: Sequence[Query], members: Mapping[str, Member]) -> list[dict[str, CachedView]]:
        """For each query, member -> view. queries: a block, or part of the last one."""
        if not self._places.keys() >= {*queries}:
            self._places = {query: place for place, query in enumerate(dict.fromkeys(queries))}
            self._encoded.clear()
            self._by_member.clear()
        for name, member in members.items():
            if name not in self._by_member:
                encoded = [] if member.encoder is None else self._encode(member.encoder)
                # The zero vector, of a text of which the encoder knows nothing, is equally near to every document.
                known = [bool(of_query.pooled.any()) for of_query in encoded] or [True] * len(self._places)
                is_lexical = isinstance(member, LEXICAL)
                self._by_member[name] = [
                    CachedView(view, above=0.0 if is_lexical or not is_known else None)
                    for view, is_known in zip(member.views([*self._places], encoded, self), known, strict=True)
                ]
        return [{name: self._by_member[name][self._places[query]] for name in members} for query in queries]

    def _encode(self, encoder: QueryEncoder) -> list[Encoded]:
        """The block's vectors: one query at a time unless the encoder is batch-invariant."""
        if id(encoder) not in self._encoded:
            texts = [query.text for query in self._places]
            calls = [texts] if getattr(encoder, "is_batch_invariant", False) else [[text] for text in texts]
            self._encoded[id(encoder)] = [encoded for call in calls for encoded in encoder.encode(call)]
        return self._encoded[id(encoder)]
