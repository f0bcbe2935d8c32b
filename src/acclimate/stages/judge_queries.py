"""The queries that an LLM judges a run on, and what a report says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.measure.measures import nothing_relevant
from acclimate.records import Qrel, Query


class JudgeQueries(NamedTuple):
    """The queries to judge, and people's judgments of them."""

    kind: str  # given, log, a split of the collection, or synthetic
    queries: Sequence[Query]
    of: int  # number of queries that they were drawn from
    people: Sequence[Qrel] = ()
    n_learned: int = 0  # of those given, left out as something learned from them
    n_chose: int = 0  # of `queries`, that choices were made on

    def account(self, grades: Sequence[Qrel]) -> dict[str, Any]:
        """As JSON. grades: an LLM's, of these queries."""
        return {
            "count": len(self.queries),
            "of": self.of,
            "split": self.kind,
            "nothing_relevant": nothing_relevant(grades),
            "same_text": len(JudgedQueries(self.kind, self.queries, []).sources),
            "learned": self.n_learned,
            "chose": self.n_chose,
        }
