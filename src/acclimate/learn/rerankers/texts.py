"""The texts that the examples of a reranker name by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from acclimate.records import Doc, NWay


class Texts(NamedTuple):
    """Texts of queries and documents."""

    queries: Mapping[str, str]  # query_id -> text
    corpus: Mapping[str, Doc]

    def query(self, example: NWay) -> str:
        """The text of an example's query."""
        return self.queries[example.query_id]

    def documents(self, example: NWay) -> list[str]:
        """The texts of an example's documents."""
        return [self.corpus[doc_id].default_text() for doc_id in example.doc_ids]

    def pairs(self, examples: Sequence[NWay]) -> list[tuple[str, str]]:
        """(query, document) texts of all examples."""
        return [(self.query(example), text) for example in examples for text in self.documents(example)]
