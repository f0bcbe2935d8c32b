"""ColBERT's files together, a folder: collection.tsv, queries.tsv, and triples.json, or examples.json with scores.

Ids are numbers of lines, from 0; those that they stand for are in collection.ids.tsv and queries.ids.tsv, written as
TREC files have them, so that reading the folder gives them back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from acclimate.base.files import atomic_folder, exists, write_jsonl, write_lines
from acclimate.corpus.formats import colbert, headless, trec
from acclimate.corpus.formats.content import Content, Example, Row
from acclimate.corpus.formats.fields import Place
from acclimate.corpus.formats.source import Source
from acclimate.records import Doc, Query

COLLECTION, QUERIES, EXAMPLES, TRIPLES = "collection.tsv", "queries.tsv", "examples.json", "triples.json"


def read(path: Path) -> Content:
    """The folder, with the ids that stand in its maps."""
    doc_ids, query_ids = (_map(path / f"{stem}.ids.tsv") for stem in ("collection", "queries"))
    has_scores = exists(path / EXAMPLES)
    documents, texts = headless.read_docs(path / COLLECTION), headless.read_queries(path / QUERIES)
    training = colbert.read_examples(path / EXAMPLES) if has_scores else colbert.read_triples(path / TRIPLES)

    def docs() -> Iterator[Row[Doc]]:
        for row in documents.docs() if documents.docs else ():
            yield row._replace(record=row.record._replace(doc_id=_named(row.record.doc_id, doc_ids, row.place)))

    def queries() -> Iterator[Row[Query]]:
        for row in texts.queries() if texts.queries else ():
            yield row._replace(record=row.record._replace(query_id=_named(row.record.query_id, query_ids, row.place)))

    def renamed() -> Iterator[Row[Example]]:
        for row in training.examples() if training.examples else ():
            example = row.record._replace(
                query_id=_named(row.record.query_id, query_ids, row.place),
                doc_ids=tuple(_named(doc_id, doc_ids, row.place) for doc_id in row.record.doc_ids),
            )
            yield row._replace(record=example)

    return Content(docs=docs, queries=queries, examples=renamed)


def write(path: Path, source: Source) -> int:
    """The folder, everything numbered from 0 in its order, the maps beside."""
    with atomic_folder(path) as folder:
        doc_numbers: dict[str, int] = {}
        query_numbers: dict[str, int] = {}
        texts: list[str] = []
        scored = False

        def collection() -> Iterator[str]:
            for number_, (place, doc, _) in enumerate(source.docs()):
                if doc_numbers.setdefault(doc.doc_id, number_) != number_:
                    raise place.error(f"id {doc.doc_id!r} is there twice; ids must differ")
                yield f"{number_}\t{source.flat(doc.default_text())}"

        def examples() -> Iterator[list[Any]]:
            nonlocal scored
            for place, example, _ in source.examples():
                scored = bool(example.scores)
                if example.query_id not in query_numbers:
                    query_numbers[example.query_id] = len(query_numbers)
                    texts.append(source.flat(source.lookup.query_text(example, place)))
                for doc_id in example.doc_ids:
                    if doc_id not in doc_numbers:
                        raise place.error(f"document {doc_id!r} is none of the {len(doc_numbers):,} documents")
                pids: list[Any] = [doc_numbers[doc_id] for doc_id in example.doc_ids]
                query = query_numbers[example.query_id]
                if example.scores:
                    yield [query, *map(list, zip(pids, example.scores, strict=True))]
                else:
                    yield from ([query, pids[0], pid] for pid in pids[1:])

        write_lines(folder / COLLECTION, collection())
        count = write_jsonl(folder / EXAMPLES, examples())
        if not scored:
            (folder / EXAMPLES).replace(folder / TRIPLES)
        write_lines(folder / QUERIES, (f"{n}\t{text}" for n, text in enumerate(texts)))
        for stem, numbers in (("collection", doc_numbers), ("queries", query_numbers)):
            write_lines(folder / f"{stem}.ids.tsv", (f"{n}\t{trec.escaped(i)}" for i, n in numbers.items()))
    return count


def _map(path: Path) -> Mapping[str, str] | None:
    if not path.exists():
        return None
    return {cells[0]: trec.unescaped(cells[1]) for _, cells in headless.same_width(path, 2)}


def _named(number_: str, names: Mapping[str, str] | None, place: Place) -> str:
    if names is None:
        return number_
    if number_ not in names:
        raise place.error(f"{number_} is not in the map of ids beside; expected the file that was written with it")
    return names[number_]
