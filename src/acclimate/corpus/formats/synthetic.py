"""Synthetic queries, one JSON object a line: ours, and those of InPars v1, of v2 and its toolkit, and of InPars+.

ours       {"query_id", "doc_id", "query", "logprob" (mean per token; absent when the LLM gives none),
           "log_probs" (one per token, natural; absent as well), "prompt" (its name; absent when unknown)}
InPars v1  {"doc_id", "doc_text", "question", "log_probs", perhaps "bad_question"}
InPars v2  {"doc_id", "text", "query", "log_probs", "prompt_text", "fewshot_examples", perhaps "score"}

All are read by the same names: `question` for `query`, and without `logprob` the mean of `log_probs`, which may be one
number, as InPars v1's filter leaves it. A file without `query_id` (InPars writes none) gets the ids that we would have
given. Note that in such a file `text`, if present, is the document.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from acclimate.base.files import write_jsonl
from acclimate.corpus.formats.fields import Field, Located, Place, identifier, number, pick, read_field, text
from acclimate.corpus.formats.rows import json_list, json_objects
from acclimate.records import SyntheticQuery

DOC_ID = Field("document id", ("doc_id",))
QUERY = Field("query", ("query", "question"))


def read_synthetic(path: Path) -> Located[SyntheticQuery]:
    """Stream synthetic queries in the order of the lines, stripped of white space."""
    return Located((place, synthetic_of(row, place)) for place, row in json_objects(path))


def write_synthetic(path: Path, queries: Iterable[SyntheticQuery]) -> int:
    """Write synthetic queries, one per line; returns their number."""
    return write_jsonl(path, (row_of(query, Place(path)) for query in queries))


def row_of(query: SyntheticQuery, place: Place) -> dict[str, Any]:
    """The JSON object of a synthetic query. Raises DataError for an infinite log-probability."""
    row: dict[str, Any] = {"query_id": query.query_id, "doc_id": query.doc_id, "query": query.text}
    if not math.isnan(query.logprob):
        row["logprob"] = number(query.logprob, f"logprob of {query.query_id}", place)
    if query.log_probs:
        row["log_probs"] = [number(value, f"log_probs of {query.query_id}", place) for value in query.log_probs]
    if query.prompt:
        row["prompt"] = query.prompt
    return row


def synthetic_id(doc_id: str, query: str) -> str:
    """The id of a synthetic query: a hash of its source doc's id and its text."""
    return hashlib.sha256(f"{doc_id}\0{query}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def synthetic_of(row: dict[str, Any], place: Place) -> SyntheticQuery:
    """The synthetic query in a row."""
    name = pick(row, QUERY, place)
    query = text(row[name], name, place).strip()
    if not query:
        raise place.error(f"{name!r} is empty; remove the line")
    doc_id = read_field(row, DOC_ID, identifier, place)
    query_id = identifier(row["query_id"], "query_id", place) if "query_id" in row else synthetic_id(doc_id, query)
    prompt = text(row["prompt"], "prompt", place) if "prompt" in row else ""
    logprob, log_probs = _logprobs(row, place)
    return SyntheticQuery(query_id, query, doc_id, logprob, prompt, log_probs)


def _logprobs(row: dict[str, Any], place: Place) -> tuple[float, tuple[float, ...]]:
    """(mean log-probability, NaN if unknown; log-probability of each token, () if unknown)."""
    value = row.get("log_probs")
    if isinstance(value, str) and value.lstrip()[:1] == "[":  # from a text table
        value = json_list(value, "log_probs", place)
    log_probs = tuple(number(item, "log_probs", place) for item in value) if isinstance(value, list) else ()
    mean = row.get("logprob")
    if mean is not None:
        return number(mean, "logprob", place), log_probs
    if log_probs:
        return math.fsum(log_probs) / len(log_probs), log_probs
    return (math.nan if value is None or isinstance(value, list) else number(value, "log_probs", place)), ()
