"""Queries with judgments: those that measure, and those that choose.

Judgments name documents by id; `search.weights.answers_of` turns them into rows of an index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from acclimate.base.digests import fingerprint
from acclimate.base.words import normalized
from acclimate.corpus import collections
from acclimate.corpus.self_matches import NO_SELF_MATCHES, SelfMatches, self_matches
from acclimate.records import Doc, Qrel, Query

SYNTHETIC = "synthetic"  # the split of queries that an LLM wrote
LOG, JUDGED = "log", "judged"  # groups of queries that people asked, and of those that somebody judged
AS_MUCH = 50  # queries that people asked, which choose as well as all synthetic ones
SYNTHETIC_TEST_SHARE = 0.2  # of the drawn documents, where no labelled queries measure


@dataclass(frozen=True)
class Judged:
    """A split's judged queries."""

    split: str  # of a collection; "synthetic"; "" where there are no queries
    queries: Sequence[Query]
    qrels: Sequence[Qrel]  # of these queries, and maybe of others
    self_matches: SelfMatches = NO_SELF_MATCHES  # the documents that are the query itself
    # Where choices are made: query_id -> how much it counts, or 1; and the group that it votes with.
    weights: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        count = Counter(self.groups.values())
        plain = len(self.queries) - count[LOG] - count[JUDGED]
        kinds = [f"{plain:,} {self.split} queries"]
        kinds += [
            f"{count[group]:,} {kind}" for group, kind in ((LOG, "of a log"), (JUDGED, "judged ones")) if count[group]
        ]
        return " and ".join([", ".join(kinds[:-1]), kinds[-1]] if kinds[1:] else kinds)

    @property
    def is_synthetic(self) -> bool:
        return self.split == SYNTHETIC

    def beside(self, judged: Judged) -> Judged:
        """These queries together with judged ones, fifty of which count as much as all of these together.

        On our collections fifty judged queries alone rank systems no better than unjudged ones (docs/log.md). A query
        in both counts as judged: people may grade queries that an LLM wrote.
        """
        judged_ids = dict.fromkeys(query.query_id for query in judged.queries)
        others = self.among(query for query in self.queries if query.query_id not in judged_ids)
        if not others.queries:
            return judged
        each = sum(self.weights.get(query.query_id, 1.0) for query in others.queries) / AS_MUCH
        return replace(
            others,
            queries=[*others.queries, *judged.queries],
            qrels=[*others.qrels, *judged.qrels],
            self_matches=judged.self_matches,
            weights={**self.weights, **dict.fromkeys(judged_ids, each)},
            groups={**self.groups, **dict.fromkeys(judged_ids, JUDGED)},
        )

    @property
    def fingerprint(self) -> str:
        left_out = {query_id: sorted(doc_ids) for query_id, doc_ids in self.self_matches.left_out.items()}
        counted = [self.weights, self.groups] if self.weights or self.groups else []
        return fingerprint(
            sorted(self.queries), sorted(self.qrels), *([left_out] if left_out else []), *map(dict, counted)
        )

    def mean(self, values: Mapping[str, float]) -> float:
        """The mean of a value per query, weighted by query. values: query_id -> value."""
        weights = {query.query_id: self.weights.get(query.query_id, 1.0) for query in sorted(self.queries)}
        return sum(weight * values[query_id] for query_id, weight in weights.items()) / sum(weights.values())

    @cached_property
    def grades(self) -> Mapping[str, Mapping[str, int]]:
        """query_id -> doc_id -> how relevant it is, 0 or more."""
        grades: dict[str, dict[str, int]] = {query.query_id: {} for query in self.queries}
        for qrel in self.qrels:
            grades.setdefault(qrel.query_id, {})[qrel.doc_id] = max(qrel.relevance, 0)
        return grades

    def among(self, queries: Iterable[Query]) -> Judged:
        """These queries alone, with their judgments."""
        queries = list(queries)
        query_ids = {query.query_id for query in queries}
        return replace(self, queries=queries, qrels=[qrel for qrel in self.qrels if qrel.query_id in query_ids])


NOTHING_JUDGED = Judged("", [], [])


def unseen(judged: Judged, shown: Collection[str], documents: Mapping[str, Doc]) -> Judged:
    """The queries that are not shown in any prompt. shown: normalized texts of queries."""
    judged = judged.among(query for query in judged.queries if normalized(query.text) not in shown)
    return replace(judged, self_matches=self_matches(judged.queries, judged.qrels, documents))


@dataclass(frozen=True)
class Labels:
    """The labelled queries of a collection."""

    collection: collections.Collection

    @cached_property
    def measuring(self) -> Judged:
        """The test split, or the dev split of a collection that has no other."""
        return self._judged("test") if self._judged("test").queries else self._judged("dev")

    @property
    def test_share(self) -> float:
        """The share of the sampled documents whose synthetic queries only measure."""
        return 0.0 if self.measuring.queries else SYNTHETIC_TEST_SHARE

    @cached_property
    def choosing(self) -> Judged:
        """The dev split, where the test split measures: test judgments choose nothing. Queries with a relevant document
        only."""
        if self.measuring.split != "test":
            return NOTHING_JUDGED
        dev = self._judged("dev")
        relevant = {qrel.query_id for qrel in dev.qrels if qrel.relevance > 0}
        return replace(dev, queries=[query for query in dev.queries if query.query_id in relevant])

    def _judged(self, split: str) -> Judged:
        qrels = self.collection.qrels.get(split, [])
        judged = {qrel.query_id for qrel in qrels}
        queries = sorted(query for query in self.collection.queries if query.query_id in judged)
        return Judged(split, queries, qrels) if queries else NOTHING_JUDGED
