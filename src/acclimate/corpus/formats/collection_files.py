"""Collections: documents, queries and judgments in several layouts.

beir         a folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv; with training examples, nway.jsonl too
gpl          a BEIR folder with qgen-queries.jsonl and qgen-qrels/train.tsv in it, or another prefix before -queries
llama-index  one JSON object: queries {id: text}, corpus {id: text}, relevant_docs {query id: [doc ids]}

Each file is also a format by itself: documents, queries, qrels and trec-qrels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError
from acclimate.base.files import atomic_folder, write_lines
from acclimate.corpus.formats import beir, fields, trec
from acclimate.corpus.formats.content import Content, Row, Rows
from acclimate.corpus.formats.fields import Place, as_json, identifier, without
from acclimate.corpus.formats.rows import objects, table, whole_object
from acclimate.corpus.formats.source import Source
from acclimate.corpus.formats.writing import write_objects
from acclimate.records import Doc, Qrel, Query, ScoredDoc

GENERATED = "qgen"  # GPL's prefix of generated files


def read_docs(path: Path) -> Content:
    """Documents, one per row, with column names as in `fields`."""

    def rows() -> Iterator[Row[Doc]]:
        for place, values in objects(path):
            yield Row(*next(fields.docs([(place, values)])))

    return Content(docs=rows)


def write_docs(path: Path, source: Source) -> int:
    """BEIR's corpus.jsonl."""
    return write_objects(
        path,
        (
            {"_id": doc.doc_id, "title": doc.title, "text": doc.text, **without(others, ("_id", "title", "text"))}
            for _, doc, others in source.docs()
        ),
    )


def read_queries(path: Path) -> Content:
    """Queries, one per row, with column names as in `fields`."""

    def rows() -> Iterator[Row[Query]]:
        rows = list(objects(path))
        for (place, values), query in zip(rows, fields.queries(rows, path), strict=True):
            used = {fields.pick(values, field, place) for field in (fields.QUERY_ID, fields.QUERY_TEXT)}
            yield Row(place, query, without(values, used))

    return Content(queries=rows)


def write_queries(path: Path, source: Source) -> int:
    """BEIR's queries.jsonl."""
    return write_objects(
        path,
        (
            {"_id": query.query_id, "text": query.text, **without(others, ("_id", "text"))}
            for _, query, others in source.queries()
        ),
    )


def read_qrels(path: Path) -> Content:
    """Judgments in BEIR's or TREC's format, of the split that the file is named after."""
    return Content(qrels={beir.split_of(path): _qrels(path)})


def write_qrels(path: Path, source: Source) -> int:
    """Judgments in BEIR's format; there must be a single split."""
    return beir.write_qrels(path, (row.record for row in _only_split(source)))


def write_trec_qrels(path: Path, source: Source) -> int:
    """Judgments in TREC's format; there must be a single split."""
    return trec.write_qrels(path, (row.record for row in _only_split(source)))


def read_run(path: Path) -> Content:
    """A TREC run."""

    def rows() -> Iterator[Row[ScoredDoc]]:
        run = trec.read_run(path)
        return (Row(run.place or Place(path), hit) for hit in run)

    return Content(run=rows)


def write_run(path: Path, source: Source) -> int:
    """A TREC run."""
    return trec.write_run(path, (row.record for row in source.run()))


def read_beir(path: Path, *, prefix: str = "") -> Content:
    """A BEIR folder. prefix: of the names of queries and judgments, such as qgen."""
    stem = f"{prefix}-" if prefix else ""
    corpus, queries = table(path, "corpus"), table(path, f"{stem}queries")
    return Content(
        docs=read_docs(corpus).docs if corpus else None,
        queries=read_queries(queries).queries if queries else None,
        qrels={split: _qrels(file) for split, file in beir.files_of_judgments(path, prefix=stem).items()},
    )


def write_beir(path: Path, source: Source, *, prefix: str = "") -> int:
    """A BEIR folder of the available documents, queries and judgments."""
    stem = f"{prefix}-" if prefix else ""
    with atomic_folder(path) as folder:
        if source.content.docs or source.lookup.documents is not None:
            write_docs(folder / "corpus.jsonl", source)
        count = write_queries(folder / f"{stem}queries.jsonl", source)
        for split, rows in source.judgments().items():
            beir.write_qrels(folder / f"{stem}qrels" / f"{split}.tsv", (row.record for row in rows()))
    return count


def read_gpl(path: Path) -> Content:
    """A BEIR folder with GPL's generated queries, under the prefix qgen or the only other prefix."""
    prefixes = sorted(file.name.removesuffix("-queries.jsonl") for file in path.glob("[!.]*-queries.jsonl"))
    if GENERATED not in prefixes and len(prefixes) != 1:
        raise DataError(
            f"has queries of {', '.join(prefixes) or 'nobody'}; expected {GENERATED}-queries.jsonl", path=path
        )
    return read_beir(path, prefix=GENERATED if GENERATED in prefixes else prefixes[0])


def read_llama_index(path: Path) -> Content:
    """Documents, queries and judgments in one JSON object."""
    place = Place(path)

    def table(name: str) -> Mapping[str, Any]:
        values = whole_object(path).get(name)
        if not isinstance(values, dict):
            raise place.error(f"{name!r} is {as_json(values)}; expected an object")
        return values

    def qrels() -> Iterator[Row[Qrel]]:
        for query_id, doc_ids in table("relevant_docs").items():
            if not isinstance(doc_ids, list):
                raise place.error(f"the documents of query {query_id!r} are {as_json(doc_ids)}; expected a list")
            for doc_id in doc_ids:
                yield Row(place, Qrel(query_id, identifier(doc_id, "relevant_docs", place), 1))

    return Content(
        docs=lambda: (Row(place, Doc(i, fields.text(text, i, place))) for i, text in table("corpus").items()),
        queries=lambda: (Row(place, Query(i, fields.text(text, i, place))) for i, text in table("queries").items()),
        qrels={"train": qrels},
    )


def write_llama_index(path: Path, source: Source) -> int:
    """One JSON object; documents graded above 0 are relevant."""
    relevant = {query_id: list(grades) for query_id, grades in source.relevant().items()}
    queries = {query.query_id: query.text for _, query, _ in source.queries()}
    corpus = {doc.doc_id: doc.default_text() for _, doc, _ in source.docs()}
    whole = {"queries": queries, "corpus": corpus, "relevant_docs": relevant}
    write_lines(path, [json.dumps(whole, ensure_ascii=False, indent=2)])
    return len(queries)


def _qrels(path: Path) -> Rows[Qrel]:
    return lambda: (Row(place, qrel) for place, qrel in beir.located_qrels(path))


def _only_split(source: Source) -> Iterator[Row[Qrel]]:
    splits = source.judgments()
    if len(splits) != 1:
        raise DataError(
            f"has judgments of {', '.join(splits)}; this format has room for one split: convert the file of that one",
            path=source.path,
        )
    return next(iter(splits.values()))()
