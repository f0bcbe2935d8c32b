"""PyLate's tables for distillation, a folder of three: train {query_id, document_ids, scores}, queries {query_id, text}
and documents {document_id, text}, each as Parquet, JSON Lines or a saved data set.

Lists may be stored as their JSON text. PyLate's student scores the documents of a query from 0 to 1, its labels stay as
they are: the teacher's scores are written so that the least of a query is 0 and the largest 1, and read as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError
from acclimate.base.files import atomic_folder
from acclimate.base.text import counted
from acclimate.corpus.formats import collection_files
from acclimate.corpus.formats.content import Content, Example, Row
from acclimate.corpus.formats.fields import Field, identifier, number, read_field, without
from acclimate.corpus.formats.rows import json_list, objects, table
from acclimate.corpus.formats.source import Source
from acclimate.corpus.formats.writing import write_objects

QUERY_ID = Field("query id", ("query_id",))
DOC_IDS = Field("list of document ids", ("document_ids",))
SCALED = "lists whose scores were brought to 0 to 1"
TABLES = ("train", "queries", "documents")


def read(path: Path) -> Content:
    """The three tables; scores stay as they are."""
    train, queries, documents = (_table(path, name) for name in TABLES)
    return Content(
        docs=collection_files.read_docs(documents).docs,
        queries=collection_files.read_queries(queries).queries,
        examples=read_train(train).examples,
    )


def read_train(path: Path) -> Content:
    """The table `train` alone."""

    def examples() -> Iterator[Row[Example]]:
        for place, values in objects(path):
            query_id = read_field(values, QUERY_ID, identifier, place)
            doc_ids = tuple(
                identifier(doc_id, "document_ids", place) for doc_id in read_field(values, DOC_IDS, json_list, place)
            )
            listed = values.get("scores")
            scores = [] if listed is None else json_list(listed, "scores", place)
            if not doc_ids or (scores and len(scores) != len(doc_ids)):
                raise place.error(
                    f"found {counted(len(doc_ids), 'document')} and {counted(len(scores), 'score')}; expected a score "
                    "for each"
                )
            others = without(values, ("query_id", "document_ids", "scores"))
            yield Row(
                place,
                Example(query_id, "", doc_ids, (), tuple(number(score, "scores", place) for score in scores)),
                others,
            )

    return Content(examples=examples)


def write(path: Path, source: Source) -> int:
    """The three tables, as Parquet, with only the documents that examples use."""
    texts: dict[str, str] = {}
    queries: dict[str, str] = {}

    def train() -> Iterator[dict[str, Any]]:
        for place, example, _ in source.examples():
            queries[example.query_id] = source.lookup.query_text(example, place)
            for doc_id in example.doc_ids:
                texts[doc_id] = source.lookup.doc_text(doc_id, place)
            values: dict[str, Any] = {"query_id": example.query_id, "document_ids": list(example.doc_ids)}
            if example.scores:
                values["scores"] = _from_0_to_1(example.scores)
                source.notes[SCALED] += 1
            yield values

    with atomic_folder(path) as folder:
        count = write_objects(folder / "train.parquet", train())
        write_objects(folder / "queries.parquet", ({"query_id": i, "text": text} for i, text in queries.items()))
        write_objects(folder / "documents.parquet", ({"document_id": i, "text": text} for i, text in texts.items()))
    return count


def _table(folder: Path, name: str) -> Path:
    path = table(folder, name)
    if path is None:
        raise DataError(f"has no {name}; expected PyLate's tables: {', '.join(TABLES)}", path=folder)
    return path


def _from_0_to_1(scores: tuple[float, ...]) -> list[float]:
    halves = [score / 2 for score in scores]  # the difference of the largest numbers would overflow
    low, high = min(halves), max(halves)
    return [(half - low) / (high - low) if high > low else 0.0 for half in halves]
