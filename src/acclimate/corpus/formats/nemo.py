"""NeMo Automodel's training data: a folder with train.json and the corpus in a folder of its own.

train.json  {corpus: [{path}], data: [{question_id, question, corpus_id, pos_doc: [{id}], neg_doc: [{id}]}]}
corpus/     Parquet or JSON Lines with id and text, and merlin_metadata.json

train.json alone is read as well, without documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acclimate.base.files import atomic_folder, write_json
from acclimate.corpus.formats import collection_files
from acclimate.corpus.formats.content import Content, Example, Row
from acclimate.corpus.formats.fields import Field, Place, as_json, identifier, read_field, text, without
from acclimate.corpus.formats.rows import optional_list, whole_object
from acclimate.corpus.formats.source import Source
from acclimate.corpus.formats.writing import write_objects
from acclimate.records import Doc

QUESTION_ID, QUESTION = Field("query id", ("question_id",)), Field("query", ("question",))
CORPUS = "corpus"  # folder and id of the corpus written


def read(path: Path) -> Content:
    """A training file of NeMo Automodel, or its folder; the corpus beside it is read if it exists."""
    file = path / "train.json" if path.is_dir() else path
    place = Place(file)

    def rows() -> Iterator[dict[str, Any]]:
        listed = whole_object(file).get("data")
        if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
            raise place.error(f"'data' is {as_json(listed)}; expected a list of objects")
        yield from listed

    def examples() -> Iterator[Row[Example]]:
        for values in rows():
            positives, negatives = (
                [_id(doc, place) for doc in optional_list(values, name, place)] for name in ("pos_doc", "neg_doc")
            )
            query_id = read_field(values, QUESTION_ID, identifier, place)
            query = read_field(values, QUESTION, text, place)
            others = without(values, ("question_id", "question", "corpus_id", "pos_doc", "neg_doc"))
            if not positives:
                raise place.error(f"question {query_id!r} has no 'pos_doc'; expected one, or remove it")
            for positive in positives:
                kept = [doc_id for doc_id in negatives if doc_id == positive or doc_id not in positives]
                yield Row(place, Example(query_id, query, (positive, *kept)), others)

    def docs() -> Iterator[Row[Doc]]:
        for item in optional_list(whole_object(file), "corpus", place):
            folder = file.parent / str(item.get("path", "") if isinstance(item, dict) else "")
            files = sorted(folder.glob("*.parquet")) or sorted(folder.glob("*.jsonl"))
            if not folder.is_dir() or not files:
                raise place.error(f"'corpus' names {as_json(item)}; expected the path of a folder with its documents")
            for part in files:
                if reader := collection_files.read_docs(part).docs:
                    yield from reader()

    has_corpus = path.is_dir()
    return Content(docs=docs if has_corpus else None, examples=examples)


def write(path: Path, source: Source) -> int:
    """A folder: train.json, and the whole corpus."""

    def data() -> Iterator[dict[str, Any]]:
        for place, example, others in source.examples():
            values: dict[str, Any] = {
                "question_id": example.query_id,
                "question": source.lookup.query_text(example, place),
            }
            positive, *negatives = ({"id": doc_id} for doc_id in example.doc_ids)
            values |= {"corpus_id": CORPUS, "pos_doc": [positive], "neg_doc": negatives}
            yield values | without(others, values)

    with atomic_folder(path) as folder:
        rows = list(data())
        write_json(folder / "train.json", {"corpus": [{"path": CORPUS}], "data": rows})
        write_objects(
            folder / CORPUS / "corpus.parquet",
            ({"id": doc.doc_id, "text": doc.default_text()} for _, doc, _ in source.docs()),
        )
        write_json(folder / CORPUS / "merlin_metadata.json", {"class": "TextQADataset", "corpus_id": CORPUS})
    return len(rows)


def _id(doc: Any, place: Place) -> str:
    if not isinstance(doc, dict) or "id" not in doc:
        raise place.error(f"found the document {as_json(doc)}; expected an object with an id")
    return identifier(doc["id"], "id", place)
