"""Queries with judgments, to measure on and to make choices on.

Judgments name documents by id; `search.weights.relevance_of` maps them to rows of an index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from acclimate.base.digests import fingerprint
from acclimate.base.text import counted
from acclimate.base.words import normalized, query_key
from acclimate.corpus import collections
from acclimate.corpus.self_matches import NO_SELF_MATCHES, SelfMatches, self_matches
from acclimate.records import Doc, Qrel, Query

SYNTHETIC = "synthetic"  # the split of LLM-written queries
_REAL = LOG, JUDGED = "log", "judged"  # groups: real queries of a log, and judged queries
EQUAL_WEIGHT_COUNT = 50  # number of judged queries that count as much as all synthetic ones
SYNTHETIC_TEST_SHARE = 0.2  # of the drawn documents, if there are no labelled queries to measure on


@dataclass(frozen=True)
class JudgedQueries:
    """Judged queries of one split."""

    split: str  # of a collection; "synthetic"; "" if there are no queries
    queries: Sequence[Query]
    qrels: Sequence[Qrel]  # of these queries, and possibly of others
    self_matches: SelfMatches = NO_SELF_MATCHES  # documents that are the query itself
    # For choices: query_id -> weight (default 1), and query_id -> the group it votes in.
    weights: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        count = Counter(self.groups.values())
        plain = len(self.queries) - count[LOG] - count[JUDGED]
        kinds = [counted(plain, f"{self.split} query")]
        kinds += [
            f"{count[group]:,} {kind}" for group, kind in ((LOG, "of a log"), (JUDGED, "judged ones")) if count[group]
        ]
        return " and ".join([", ".join(kinds[:-1]), kinds[-1]] if kinds[1:] else kinds)

    @property
    def is_synthetic(self) -> bool:
        return self.split == SYNTHETIC

    @property
    def sources(self) -> Mapping[str, str]:
        """query_id -> the document, best graded of all, that a synthetic query was written for, or the text that a real
        query shares with another; those that are like no other are left out."""
        real = [query for query in self.queries if not self.is_synthetic or self.groups.get(query.query_id) in _REAL]
        texts = {query.query_id: normalized(query.text) for query in real}
        count = Counter(texts.values())
        written_for = {
            query.query_id: max(graded, key=lambda doc_id: graded[doc_id])
            for query in self.queries
            if query.query_id not in texts and (graded := self.grades[query.query_id])
        }
        return written_for | {query_id: text for query_id, text in texts.items() if count[text] > 1}

    def combined_with(self, judged: JudgedQueries) -> JudgedQueries:
        """These queries together with judged ones, fifty of which count as much as all of these.

        On our collections fifty judged queries alone rank systems no better than unjudged ones (docs/log.md). A query
        in both counts as judged: people may grade queries that an LLM wrote.
        """
        judged_ids = dict.fromkeys(query.query_id for query in judged.queries)
        others = self.restricted_to(query for query in self.queries if query.query_id not in judged_ids)
        if not others.queries:
            return judged
        each = sum(self.weights.get(query.query_id, 1.0) for query in others.queries) / EQUAL_WEIGHT_COUNT
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
        for_choices = [dict(self.weights), dict(self.groups)] if self.weights or self.groups else []
        return fingerprint(sorted(self.queries), sorted(self.qrels), *([left_out] if left_out else []), *for_choices)

    def mean(self, values: Mapping[str, float]) -> float:
        """The weighted mean of a value per query. values: query_id -> value."""
        weights = {query.query_id: self.weights.get(query.query_id, 1.0) for query in sorted(self.queries)}
        return sum(weight * values[query_id] for query_id, weight in weights.items()) / sum(weights.values())

    @cached_property
    def grades(self) -> Mapping[str, Mapping[str, int]]:
        """query_id -> doc_id -> grade, 0 or more."""
        grades: dict[str, dict[str, int]] = {query.query_id: {} for query in self.queries}
        for qrel in self.qrels:
            grades.setdefault(qrel.query_id, {})[qrel.doc_id] = max(qrel.relevance, 0)
        return grades

    def restricted_to(self, queries: Iterable[Query]) -> JudgedQueries:
        """Only these queries, with their judgments."""
        queries = list(queries)
        query_ids = {query.query_id for query in queries}
        return replace(self, queries=queries, qrels=[qrel for qrel in self.qrels if qrel.query_id in query_ids])


NOTHING_JUDGED = JudgedQueries("", [], [])


def not_shown(judged: JudgedQueries, shown: Collection[str], documents: Mapping[str, Doc]) -> JudgedQueries:
    """The queries that no prompt shows. shown: keys of queries."""
    others = judged.restricted_to(query for query in judged.queries if query_key(query.text) not in shown)
    return with_self_matches(others, documents)


def with_self_matches(judged: JudgedQueries, documents: Mapping[str, Doc]) -> JudgedQueries:
    """The queries with the documents that they are themselves, which are left out if most queries are documents."""
    return replace(judged, self_matches=self_matches(judged.queries, judged.qrels, documents))


@dataclass(frozen=True)
class Labels:
    """The labelled queries of a collection."""

    collection: collections.Collection

    @cached_property
    def measuring(self) -> JudgedQueries:
        """The test split; without one, the dev split."""
        return self._judged("test") if self._judged("test").queries else self._judged("dev")

    @property
    def test_share(self) -> float:
        """The share of drawn documents whose synthetic queries are used only for measuring."""
        return 0.0 if self.measuring.queries else SYNTHETIC_TEST_SHARE

    @cached_property
    def choosing(self) -> JudgedQueries:
        """The queries of the dev split with a relevant document, if the test split is for measuring; else none.

        Queries that are also in the test split are left out, whatever their ids and punctuation: they would choose what
        they measure.
        """
        if self.measuring.split != "test":
            return NOTHING_JUDGED
        dev, measuring = self._judged("dev"), {query_key(query.text) for query in self.measuring.queries}
        relevant = {qrel.query_id for qrel in dev.qrels if qrel.relevance > 0}
        usable = [query for query in dev.queries if query.query_id in relevant]
        return replace(dev, queries=[query for query in usable if query_key(query.text) not in measuring])

    def _judged(self, split: str) -> JudgedQueries:
        qrels = self.collection.qrels.get(split, [])
        judged = {qrel.query_id for qrel in qrels}
        queries = sorted(query for query in self.collection.queries if query.query_id in judged)
        return JudgedQueries(split, queries, qrels) if queries else NOTHING_JUDGED
