"""Our two JSON Lines files: training examples and synthetic queries.

n-way              {"query_id", "doc_ids" (positive first), "scores" (absent, or one per doc),
                    "has_positive" (absent, or false where none is known: the best by score is first)}
synthetic queries  {"query_id", "doc_id", "query", "logprob" (mean per token; absent when the LLM gives none),
                    "log_probs" (one per token, natural; absent as well), "prompt" (its name; absent when unknown)}

Synthetic queries of other tools are read too: `question` for `query`, and without `logprob` the mean of `log_probs`,
which may be one number, as InPars v1's filter leaves it. A file without `query_id` (InPars writes none) gets the ids
that we would have given. Note that in such a file `text`, if present, is the document.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError
from acclimate.base.files import read_jsonl, write_jsonl
from acclimate.corpus.formats.fields import Field, Located, Place, as_json, identifier, number, pick, text
from acclimate.records import NWay, SyntheticQuery

QUERY_ID = Field("query id", ("query_id",))
DOC_ID = Field("document id", ("doc_id",))
DOC_IDS = Field("list of document ids, positive first,", ("doc_ids",))
SYNTHETIC_TEXT = Field("query", ("query", "question"))


def read_nway(path: Path) -> Located[NWay]:
    """The training examples in the order of the lines, streamed."""
    return Located((place, _nway(row, place)) for place, row in _rows(path))


def write_nway(path: Path, examples: Iterable[NWay]) -> int:
    """Training examples, one a line. Returns how many. Scores that are not one finite number per doc are refused."""

    def rows() -> Iterator[dict[str, Any]]:
        for example in examples:
            row: dict[str, Any] = {"query_id": example.query_id, "doc_ids": list(example.doc_ids)}
            if example.scores:
                row["scores"] = [float(score) for score in example.scores]
            if not example.has_positive:
                row["has_positive"] = False
            _nway(row, Place(path))
            yield row

    return write_jsonl(path, rows())


def read_synthetic(path: Path) -> Located[SyntheticQuery]:
    """Synthetic queries in the order of the lines, streamed; blanks around a query are removed."""
    return Located((place, _synthetic(row, place)) for place, row in _rows(path))


def write_synthetic(path: Path, queries: Iterable[SyntheticQuery]) -> int:
    """Synthetic queries, one a line. Returns how many."""

    def rows() -> Iterator[dict[str, Any]]:
        for query in queries:
            row: dict[str, Any] = {"query_id": query.query_id, "doc_id": query.doc_id, "query": query.text}
            if not math.isnan(query.logprob):
                row["logprob"] = number(query.logprob, f"logprob of {query.query_id}", Place(path))
            if query.log_probs:
                row["log_probs"] = [
                    number(value, f"log_probs of {query.query_id}", Place(path)) for value in query.log_probs
                ]
            if query.prompt:
                row["prompt"] = query.prompt
            yield row

    return write_jsonl(path, rows())


def synthetic_id(doc_id: str, query: str) -> str:
    """The id of a synthetic query: a hash of its source doc's id and its text, so that it depends on nothing else."""
    return fingerprint(doc_id, query)[:16]


def _nway(row: dict[str, Any], place: Place) -> NWay:
    doc_ids = row[pick(row, DOC_IDS, place)]
    if not isinstance(doc_ids, list) or not doc_ids:
        raise place.error(f"'doc_ids' is {as_json(doc_ids)}; expected a list of document ids, positive first")
    ids = tuple(identifier(doc_id, "doc_ids", place) for doc_id in doc_ids)
    if len(set(ids)) < len(ids):
        twice = next(doc_id for doc_id in ids if ids.count(doc_id) > 1)
        raise place.error(
            f"'doc_ids' has {twice!r} twice; a positive is never its own negative, a negative is used once"
        )
    scores = row.get("scores")
    if scores is None:
        scores = []
    elif not isinstance(scores, list) or len(scores) != len(ids):
        what = f"{len(scores)} of them" if isinstance(scores, list) else as_json(scores)
        raise place.error(f"'scores': found {what}; expected one per document, {len(ids)}, or no 'scores' at all")
    has_positive = row.get("has_positive", True)
    if not isinstance(has_positive, bool):
        raise place.error(f"'has_positive' is {as_json(has_positive)}; expected true or false")
    return NWay(
        query_id=identifier(row[pick(row, QUERY_ID, place)], "query_id", place),
        doc_ids=ids,
        scores=tuple(number(score, "scores", place) for score in scores),
        has_positive=has_positive,
    )


def _synthetic(row: dict[str, Any], place: Place) -> SyntheticQuery:
    name = pick(row, SYNTHETIC_TEXT, place)
    query = text(row[name], name, place).strip()
    if not query:
        raise place.error(f"{name!r} is empty; remove the line")
    doc_id = identifier(row[pick(row, DOC_ID, place)], "doc_id", place)
    query_id = identifier(row["query_id"], "query_id", place) if "query_id" in row else synthetic_id(doc_id, query)
    prompt = text(row["prompt"], "prompt", place) if "prompt" in row else ""
    logprob, log_probs = _logprobs(row, place)
    return SyntheticQuery(query_id, query, doc_id, logprob, prompt, log_probs)


def _logprobs(row: dict[str, Any], place: Place) -> tuple[float, tuple[float, ...]]:
    """The mean log-probability, nan where there is none, and that of each token where they are there."""
    value = row.get("log_probs")
    log_probs = tuple(number(item, "log_probs", place) for item in value) if isinstance(value, list) else ()
    mean = row.get("logprob")
    if mean is not None:
        return number(mean, "logprob", place), log_probs
    if log_probs:
        return math.fsum(log_probs) / len(log_probs), log_probs
    return (math.nan if value is None or isinstance(value, list) else number(value, "log_probs", place)), ()


def _rows(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    row = None
    for line, row in read_jsonl(path):
        yield Place(path, line), row
    if row is None:
        raise DataError("an empty file; expected one JSON object per line", path=path)
