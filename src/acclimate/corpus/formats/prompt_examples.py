"""Examples of a task for prompts: a query and a document that answers it, as the InPars toolkit publishes them.

{"query", "document" (its text), "query_id", "doc_id"}: one JSON object a line. Without `document`, the text is looked
up in the corpus by `doc_id`; without `query_id`, the query is its own id.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError
from acclimate.corpus.formats.fields import Field, Place, identifier, pick, text
from acclimate.corpus.formats.rows import json_rows
from acclimate.records import Doc, PromptExample

QUERY = Field("query", ("query", "question"))
DOCUMENT = ("document", "doc_text", "passage", "text")


def read_prompt_examples(path: Path, corpus: Mapping[str, Doc]) -> list[PromptExample]:
    """All examples of a file, in its order. corpus: for documents that the file gives by id only."""
    examples = [_example(row, place, corpus) for place, row in json_rows(path)]
    if not examples:
        raise DataError("an empty file; expected one JSON object per line, with query and document", path=path)
    return examples


def _example(row: dict[str, Any], place: Place, corpus: Mapping[str, Doc]) -> PromptExample:
    query_name = pick(row, QUERY, place)
    query = text(row[query_name], query_name, place).strip()
    if not query:
        raise place.error(f"{query_name!r} is empty; remove the line")
    doc_id = identifier(row["doc_id"], "doc_id", place) if "doc_id" in row else ""
    name = next((name for name in DOCUMENT if name in row), None)
    if name is None and doc_id not in corpus:
        raise place.error(f"no document: expected {DOCUMENT[0]!r}, or a 'doc_id' that is in the corpus")
    document = corpus[doc_id].default_text() if name is None else text(row[name], name, place)
    return PromptExample(
        identifier(row["query_id"], "query_id", place) if "query_id" in row else query, doc_id, query, document.strip()
    )
