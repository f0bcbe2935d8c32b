"""A log of real queries with their frequencies, without judgments.

Queries that differ only in spacing, case or the encoding of a character are merged, in their most frequent spelling.
Personal data is cut out of a query before anything else sees it (`masking`); what is then no query any more is dropped
and counted.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from acclimate.base.digests import fingerprint
from acclimate.base.draw import uniform
from acclimate.base.errors import DataError
from acclimate.base.files import read_jsonl, write_jsonl
from acclimate.base.words import normalized, query_key
from acclimate.corpus.formats.query_log import read_query_log
from acclimate.records import Query

LONGEST = 500  # characters of a query; longer ones are pasted documents
MOST_WORDS = 64
# Reasons to drop an entry.
EMPTY = "empty"
TOO_LONG = f"longer than {LONGEST} characters or {MOST_WORDS} words"
NEVER = "searched for 0 times"
NO_LETTERS = "no letters"
PERSONAL = "nothing but personal data"


@dataclass(frozen=True, slots=True)
class LoggedQuery:
    """A query that people searched for. `query_id` is a hash of its normalized text."""

    query_id: str
    text: str
    count: int  # searches, 1 or more
    clicks: int = 0  # on results, if the log has them

    def as_query(self) -> Query:
        """What a retriever searches for."""
        return Query(self.query_id, self.text)


@dataclass(frozen=True)
class QueryLog:
    """The queries of a log, by frequency and then by id, and counts of the entries that were masked or dropped."""

    queries: Sequence[LoggedQuery] = ()
    masked: int = 0  # entries (lines, rows) that were masked
    dropped: Mapping[str, int] = field(default_factory=dict)  # dropped entries, by reason

    def __len__(self) -> int:
        return len(self.queries)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the queries, with their counts and clicks."""
        return fingerprint([(query.query_id, query.text, query.count, query.clicks) for query in self.queries])

    def account(self) -> dict[str, Any]:
        """Counts for a report."""
        asked = sum(query.count for query in self.queries)
        return {"queries": len(self), "asked": asked, "masked": self.masked, "dropped": dict(self.dropped)}

    def draw(self, n: int, seed: int) -> list[LoggedQuery]:
        """Draw `n` queries without replacement, in proportion to frequency; all if there are fewer.

        A smaller draw is a subset of a larger one (Efraimidis and Spirakis, Information Processing Letters 97, 2006).
        """

        def arrival(query: LoggedQuery) -> tuple[float, str]:
            return -math.log(1 - uniform(seed, "log", query.query_id)) / query.count, query.query_id

        return heapq.nsmallest(n, self.queries, key=arrival)

    def unlike(self, texts: Iterable[str]) -> list[LoggedQuery]:
        """The queries that differ from all of these texts in a word."""
        known = set(map(query_key, texts))
        return [query for query in self.queries if query_key(query.text) not in known]

    def write(self, path: Path) -> None:
        """Write as JSON Lines: counts first, then the queries."""
        write_jsonl(path, self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        yield {"masked": self.masked, "dropped": dict(self.dropped)}
        for query in self.queries:
            yield {"_id": query.query_id, "text": query.text, "count": query.count, "clicks": query.clicks}


NO_LOG = QueryLog()


def read_stored(path: Path) -> QueryLog:
    """Read a log written by `QueryLog.write`."""
    rows = (row for _, row in read_jsonl(path))
    account = next(rows)
    queries = [LoggedQuery(row["_id"], row["text"], row["count"], row["clicks"]) for row in rows]
    return QueryLog(queries, account["masked"], account["dropped"])


def read(path: Path) -> QueryLog:
    """Read an exported log (`formats/query_log.py` lists the formats).

    Memory grows with the number of distinct queries. Raises DataError for an unreadable file, and if no query remains.
    """
    from acclimate.corpus.masking import masked, tidied  # slow to import: compiles its patterns

    entries: dict[str, list[int]] = {}  # text -> entries, count, clicks
    dropped: Counter[str] = Counter()
    for entry in read_query_log(path):
        text = tidied(entry.text)
        if reason := _why_none(text, entry.searches):
            dropped[reason] += 1
        else:
            _add(entries.setdefault(text, [0, 0, 0]), 1, entry.searches, entry.clicks)
    if not entries and not dropped:
        raise DataError("is empty; expected real queries, one per line", path=path)
    n_masked = 0
    spellings: dict[str, dict[str, list[int]]] = {}  # normalized text -> text -> count, clicks
    for text, (n_entries, count, clicks) in entries.items():
        impersonal = masked(text)
        is_masked = impersonal != text
        n_masked += n_entries * is_masked
        if any(map(str.isalpha, impersonal)):
            _add(spellings.setdefault(normalized(impersonal), {}).setdefault(impersonal, [0, 0]), count, clicks)
        else:
            dropped[PERSONAL if is_masked else NO_LETTERS] += n_entries
    if not spellings:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(dropped.items()))
        raise DataError(f"has no usable query ({reasons}); expected what people searched for", path=path)
    queries = [_merged(key, texts) for key, texts in spellings.items()]
    queries.sort(key=lambda query: (-query.count, query.query_id))
    return QueryLog(queries, n_masked, dict(sorted(dropped.items())))


def _why_none(text: str, count: int) -> str:
    """The reason to drop an entry, as far as it is visible before masking; "" to keep it."""
    if not text:
        return EMPTY
    if len(text) > LONGEST or text.count(" ") >= MOST_WORDS:
        return TOO_LONG
    return "" if count else NEVER


def _add(totals: list[int], *numbers: int) -> None:
    for place, number in enumerate(numbers):
        totals[place] += number


def _merged(key: str, spellings: Mapping[str, Sequence[int]]) -> LoggedQuery:
    """Merge the spellings of a query."""
    text = min(spellings, key=lambda text: (-spellings[text][0], text))
    count, clicks = map(sum, zip(*spellings.values(), strict=True))
    return LoggedQuery(hashlib.sha256(key.encode()).hexdigest()[:16], text, count, clicks)
