"""Our training examples: {"query_id", "doc_ids" (positive first), "scores" (absent, or one per doc), "has_positive"
(absent, or false where none is known: the best by score is first)}, one JSON object a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from acclimate.base.files import write_jsonl
from acclimate.corpus.formats.fields import Field, Located, Place, as_json, identifier, number, pick, read_field
from acclimate.corpus.formats.rows import json_objects
from acclimate.records import NWay

QUERY_ID = Field("query id", ("query_id",))
DOC_IDS = Field("list of document ids, positive first,", ("doc_ids",))
KEYS = frozenset({"query_id", "doc_ids", "scores", "has_positive"})


def read_nway(path: Path) -> Located[NWay]:
    """Stream training examples in the order of the lines."""
    return Located((place, nway_of(row, place)) for place, row in json_objects(path))


def write_nway(path: Path, examples: Iterable[NWay]) -> int:
    """Write training examples, one per line; returns their number. Scores must be one finite number per doc."""

    def rows() -> Iterator[dict[str, Any]]:
        for example in examples:
            row = row_of(example)
            nway_of(row, Place(path))
            yield row

    return write_jsonl(path, rows())


def row_of(example: NWay) -> dict[str, Any]:
    """The JSON object of a training example."""
    row: dict[str, Any] = {"query_id": example.query_id, "doc_ids": list(example.doc_ids)}
    if example.scores:
        row["scores"] = [float(score) for score in example.scores]
    if not example.has_positive:
        row["has_positive"] = False
    return row


def nway_of(row: dict[str, Any], place: Place) -> NWay:
    """The training example in a row. Raises DataError for a missing or repeated positive, or too few scores."""
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
        query_id=read_field(row, QUERY_ID, identifier, place),
        doc_ids=ids,
        scores=tuple(number(score, "scores", place) for score in scores),
        has_positive=has_positive,
    )
