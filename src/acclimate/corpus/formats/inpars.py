"""Convert synthetic queries, ours and InPars', with all their keys.

InPars' own filter needs `log_probs`, a list with one number per token, for every query: queries without it are written
and counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from acclimate.corpus.formats import synthetic
from acclimate.corpus.formats.content import Content, Row
from acclimate.corpus.formats.fields import pick, without
from acclimate.corpus.formats.rows import objects
from acclimate.corpus.formats.source import Source
from acclimate.corpus.formats.writing import write_objects
from acclimate.records import SyntheticQuery

EMPTY = "lines left out without a query"
NO_LOG_PROBS = "queries without log_probs, which InPars' filter wants"
TEXT = ("text", "doc_text", "document")  # names of the source document's text
USED = {"query_id", "doc_id", "query", "question", "logprob", "log_probs", "prompt"}


def read(path: Path) -> Content:
    """Read ours and InPars'. In InPars' files, which have no ids, lines without a query are skipped and counted."""
    notes: Counter[str] = Counter()

    def rows() -> Iterator[Row[SyntheticQuery]]:
        counted: Counter[str] = Counter()
        for place, row in objects(path):
            values = {name: value for name, value in row.items() if value is not None}
            if "query_id" not in values and not str(values.get(pick(row, synthetic.QUERY, place), "")).strip():
                counted[EMPTY] += 1
                continue
            query = synthetic.synthetic_of(values, place)
            others = without(values, USED)
            text = next((others.pop(name) for name in TEXT if name in others), None)
            yield Row(place, query, others if text is None else {"text": text, **others})
        notes.update(counted - notes)  # the same at each pass

    return Content(synthetic=rows, notes=notes)


def write_ours(path: Path, source: Source) -> int:
    """Our superset of InPars v2's keys."""

    def rows() -> Iterator[dict[str, Any]]:
        for place, query, others in source.synthetic():
            values = synthetic.row_of(query, place)
            synthetic.synthetic_of(values, place)
            yield values | without(others, values)

    return write_objects(path, rows())


def write_v2(path: Path, source: Source) -> int:
    """The format of the InPars toolkit."""
    return write_objects(path, _rows(source, ("text", "query")))


def write_v1(path: Path, source: Source) -> int:
    """The format of InPars v1."""
    return write_objects(path, _rows(source, ("doc_text", "question")))


def _rows(source: Source, names: tuple[str, str]) -> Iterator[dict[str, Any]]:
    text_name, query_name = names
    for place, query, others in source.synthetic():
        text = others["text"] if "text" in others else source.lookup.doc_text(query.doc_id, place)
        values: dict[str, Any] = {"doc_id": query.doc_id, text_name: text, query_name: query.text}
        if query.log_probs:
            values["log_probs"] = list(query.log_probs)
        elif not math.isnan(query.logprob):
            values["log_probs"] = query.logprob
        if not query.log_probs:
            source.notes[NO_LOG_PROBS] += 1
        if query_name == "query":
            values |= {
                "prompt_text": others.get("prompt_text", ""),
                "fewshot_examples": others.get("fewshot_examples", []),
            }
        yield values | without(_kept(query, others), values)


def _kept(query: SyntheticQuery, others: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that InPars lacks, including a query id that could not be restored from the file."""
    kept = {name: value for name, value in others.items() if name != "text"}
    if query.query_id != synthetic.synthetic_id(query.doc_id, query.text):
        kept["query_id"] = query.query_id
    if query.prompt:
        kept["prompt"] = query.prompt
    return kept
