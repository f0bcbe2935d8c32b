"""Synthetic queries, and possibly training examples, provided by the user instead of generated.

Files of any known format are read. Records of unknown documents are dropped and counted, since published queries are
often for another version of a corpus; documents whose text differs are counted, too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError
from acclimate.base.files import read_json, write_json
from acclimate.base.words import words_of
from acclimate.corpus.formats import (
    read_any_nway,
    read_any_written,
    read_nway,
    read_synthetic,
    write_nway,
    write_synthetic,
)
from acclimate.corpus.formats.lookup import text_key
from acclimate.records import Doc, NWay, SyntheticQuery

FILES = QUERIES, EXAMPLES, ACCOUNT = "given-queries.jsonl", "given-nway.jsonl", "given.json"  # stored in a run's folder
NO_PARENTS: Mapping[str, str] = MappingProxyType({})
UNKNOWN = "unknown document"
AGAIN = "same query twice"


@dataclass(frozen=True)
class ProvidedQueries:
    """Queries with a source document in the corpus, in file order, and examples for some of them."""

    queries: Sequence[SyntheticQuery]
    examples: Sequence[NWay] = ()  # all with scores, or all without
    dropped: Mapping[str, int] = field(default_factory=dict)  # dropped records, by reason
    n_other_texts: int = 0  # documents whose text differs from the one queries were written for

    @classmethod
    def of_queries(
        cls, path: Path, corpus: Mapping[str, Doc], parents: Mapping[str, str] = NO_PARENTS
    ) -> ProvidedQueries:
        """Read synthetic queries from a file or folder; duplicates (text and source) are dropped.

        parents: passage -> document. A query for a document that was split goes to the passage with most of its words.
        Raises DataError for a file without queries, or without queries for documents of the corpus.
        """
        rows = read_any_written(path)
        queries: dict[tuple[str, str], SyntheticQuery] = {}
        dropped: Counter[str] = Counter()
        other_texts: set[str] = set()
        passages: dict[str, list[str]] = {}
        for passage_id, doc_id in parents.items():
            passages.setdefault(doc_id, []).append(passage_id)
        unknown = ""
        for query, text in rows:
            if query.doc_id in passages:
                docs = [corpus[passage_id] for passage_id in passages[query.doc_id]]
                query, text = query._replace(doc_id=_best_passage(query.text, docs).doc_id), None
            doc = corpus.get(query.doc_id)
            if doc is None:
                unknown = unknown or query.doc_id
                dropped[UNKNOWN] += 1
                continue
            if queries.setdefault((query.doc_id, query.text), query) is not query:
                dropped[AGAIN] += 1
            if text is not None and text_key(text) not in {text_key(doc.text), text_key(doc.default_text())}:
                other_texts.add(doc.doc_id)
        counts = _counts(dropped, rows.dropped)
        if unknown and not queries:
            _refuse(path, unknown, dropped[UNKNOWN], corpus)
        if not queries:
            raise DataError(f"has no query{left_out(counts)}", path=path)
        return cls(list(queries.values()), (), counts, len(other_texts))

    @classmethod
    def of_examples(cls, path: Path, corpus: Mapping[str, Doc], queries: Path | None) -> ProvidedQueries:
        """Read training examples; the first positive of a query is its source. queries: a file with their texts.

        Raises DataError for a document that is not in the corpus, and for a query without a text.
        """
        training = read_any_nway(path, corpus, queries=queries)
        if not training.examples:
            raise DataError("has no training example", path=path)
        if all(len(example.doc_ids) < 2 for example in training.examples):
            raise DataError("each training example has one document; expected a positive and negatives", path=path)
        if unknown := next((each for each in training.examples if not (each.has_positive or each.scores)), None):
            raise DataError(
                f"query {unknown.query_id!r}: 'has_positive' is false, and there are no scores to learn from either; "
                "expected 'scores', or the positive first",
                path=path,
            )
        sources = {example.query_id: example.doc_ids[0] for example in reversed(training.examples)}
        written = [SyntheticQuery(*query, sources[query.query_id], math.nan) for query in training.queries]
        return cls(written, training.examples, _counts(training.dropped))

    @classmethod
    def read(cls, path_of: Callable[[str], Path], *, has_examples: bool) -> ProvidedQueries:
        """Read what `write` stored. path_of: file name -> path."""
        account = read_json(path_of(ACCOUNT))
        examples = list(read_nway(path_of(EXAMPLES))) if has_examples else ()
        return cls(list(read_synthetic(path_of(QUERIES))), examples, account["dropped"], account["other_texts"])

    def write(self, folder: Path) -> list[str]:
        """Store in a folder; returns the file names."""
        write_json(folder / ACCOUNT, {"dropped": dict(self.dropped), "other_texts": self.n_other_texts})
        write_synthetic(folder / QUERIES, self.queries)
        if not self.examples:
            return [QUERIES, ACCOUNT]
        write_nway(folder / EXAMPLES, self.examples)
        return [QUERIES, ACCOUNT, EXAMPLES]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of queries, examples and counts."""
        known = [query._replace(logprob=0.0 if math.isnan(query.logprob) else query.logprob) for query in self.queries]
        return fingerprint(known, self.examples, dict(self.dropped), self.n_other_texts)


def _best_passage(query: str, passages: Sequence[Doc]) -> Doc:
    """The passage with most of a query's words; the first of several."""
    words = set(words_of(query))
    return max(passages, key=lambda passage: len(words & set(words_of(passage.default_text()))))


def _refuse(path: Path, unknown: str, count: int, corpus: Mapping[str, Doc]) -> None:
    """Raises DataError for queries of another corpus."""
    known = ", ".join(map(repr, islice(corpus, 3)))
    raise DataError(
        f"document {unknown!r} is not in the corpus, nor is any of the {count:,} that queries are for, while the "
        f"corpus would know {known}; do the files match?",
        path=path,
    )


def left_out(counts: Mapping[str, int]) -> str:
    """The counts of dropped records by reason, to be appended to a message."""
    return "".join(f"; {reason}: {count:,}" for reason, count in counts.items())


def _counts(*parts: Mapping[str, int]) -> dict[str, int]:
    """The sum of counts by reason, in alphabetical order, without zeros."""
    total = sum((Counter(part) for part in parts), Counter[str]())
    return {reason: count for reason, count in sorted(total.items()) if count}
