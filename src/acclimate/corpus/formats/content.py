"""The content of files of any format: six kinds of records, each streamed on demand.

Beside its record, a row carries the keys that have no field in the record, so that they can be written back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from acclimate.corpus.formats.fields import Place
from acclimate.records import Doc, Qrel, Query, ScoredDoc, SyntheticQuery

T = TypeVar("T")


class Example(NamedTuple):
    """A training example as read from a file: with ids, texts or both, the positive first.

    Empty strings and tuples stand for what the format lacks. Ids, texts and scores that are present are parallel.
    """

    query_id: str = ""
    query: str = ""
    doc_ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    has_positive: bool = True

    @property
    def n_ways(self) -> int:
        """Number of documents."""
        return len(self.doc_ids or self.texts)

    def keeping(self, places: list[int]) -> Example:
        """The example reduced to the documents at these positions."""
        return self._replace(
            doc_ids=tuple(self.doc_ids[n] for n in places) if self.doc_ids else (),
            texts=tuple(self.texts[n] for n in places) if self.texts else (),
            scores=tuple(self.scores[n] for n in places) if self.scores else (),
        )


class Row(NamedTuple, Generic[T]):
    """A record, its place, and its other keys."""

    place: Place
    record: T
    others: Mapping[str, Any] = {}


Rows = Callable[[], Iterator[Row[T]]]


@dataclass(frozen=True)
class Content:
    """The records in a file or folder."""

    docs: Rows[Doc] | None = None
    queries: Rows[Query] | None = None
    qrels: Mapping[str, Rows[Qrel]] = field(default_factory=dict)  # by split: train, dev, test
    run: Rows[ScoredDoc] | None = None
    synthetic: Rows[SyntheticQuery] | None = None  # in `others`, `text` is the document's
    examples: Rows[Example] | None = None
    notes: Counter[str] = field(default_factory=Counter)  # what readers pass over, by reason, as they go

    def __str__(self) -> str:
        return ", ".join(kind for kind in KINDS if getattr(self, KINDS[kind])) or "nothing"


KINDS = {
    "documents": "docs",
    "queries": "queries",
    "judgments": "qrels",
    "a run": "run",
    "synthetic queries": "synthetic",
    "training examples": "examples",
}
