"""Folders of ColBERT and LoTTE, whose ids are line numbers from 0.

colbert  collection.tsv, queries.tsv, and triples.json, or examples.json with scores
lotte    collection.tsv, questions.KIND.tsv, qas.KIND.jsonl, KIND being search or forum

The original ids are in collection.ids.tsv and queries.ids.tsv, escaped as in TREC's files, so that reading the folder
restores them. Folders of others have no such files: there the numbers are the ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from acclimate.base.files import atomic_folder, exists, write_jsonl, write_lines
from acclimate.base.text import counted
from acclimate.corpus.formats import colbert, headerless, trec
from acclimate.corpus.formats.content import Content, Row, Rows
from acclimate.corpus.formats.fields import Place
from acclimate.corpus.formats.source import Source
from acclimate.corpus.named_collections import KINDS
from acclimate.records import Query

COLLECTION, QUERIES, EXAMPLES, TRIPLES = "collection.tsv", "queries.tsv", "examples.json", "triples.json"
DOC_MAP, QUERY_MAP = "collection.ids.tsv", "queries.ids.tsv"


def read_colbert(path: Path) -> Content:
    """Documents, queries and training examples."""
    has_scores = exists(path / EXAMPLES)
    training = colbert.read_examples(path / EXAMPLES) if has_scores else colbert.read_triples(path / TRIPLES)
    content = Content(
        docs=headerless.read_docs(path / COLLECTION).docs,
        queries=headerless.read_queries(path / QUERIES).queries,
        examples=training.examples,
    )
    return _named(content, path)


def write_colbert(path: Path, source: Source) -> int:
    """Documents, and the queries that have examples, in random order; without scores, one triple per negative."""
    texts: list[str] = []
    scored = False

    def examples() -> Iterator[list[Any]]:
        nonlocal scored
        for place, example, _ in source.examples(negatives=True):
            scored = bool(example.scores)
            if example.query_id not in queries:
                texts.append(source.flat(source.lookup.query_text(example, place)))
            query = queries.setdefault(example.query_id, len(queries))
            pids: list[Any] = [_number(doc_id, docs, place) for doc_id in example.doc_ids]
            if scored:
                yield [query, *map(list, zip(pids, example.scores, strict=True))]
            else:
                yield from ([query, pids[0], pid] for pid in pids[1:])

    with atomic_folder(path) as folder:
        docs, queries = _write_collection(folder, source), dict[str, int]()
        count = write_jsonl(folder / EXAMPLES, colbert.in_random_order(examples(), folder))
        if not scored:
            (folder / EXAMPLES).replace(folder / TRIPLES)
        write_lines(folder / QUERIES, (f"{number}\t{text}" for number, text in enumerate(texts)))
        _write_map(folder / QUERY_MAP, queries)
    return count


def read_lotte(path: Path) -> Content:
    """Documents, queries and judgments; the kinds are the splits, and `test` where a file names none, as of UDAPDR.

    LoTTE numbers the queries of each kind from 0: a folder with both is refused where they have an id in common.
    """
    answers, questions = files_by_kind(path, "qas"), files_by_kind(path, "questions")
    contents = {kind or "test": colbert.read_qas(file, split=kind or "test") for kind, file in answers.items()}
    contents = contents or {kind: headerless.read_queries(file) for kind, file in questions.items()}

    def queries() -> Iterator[Row[Query]]:
        kind_of: dict[str, str] = {}
        for kind, content in contents.items():
            for row in content.queries() if content.queries else ():
                if kind_of.setdefault(row.record.query_id, kind) != kind:
                    raise row.place.error(
                        f"query {row.record.query_id!r} is one of {kind_of[row.record.query_id]}, too; convert one of "
                        f"the files, such as {row.place.path.name}, with --corpus {path / COLLECTION}"
                    )
                yield row

    content = Content(
        docs=headerless.read_docs(path / COLLECTION).docs,
        queries=queries if contents else None,
        qrels={kind: rows for content in contents.values() for kind, rows in content.qrels.items()},
    )
    return _named(content, path)


def files_by_kind(folder: Path, stem: str) -> dict[str, Path]:
    """The files stem.KIND.jsonl and stem.KIND.tsv by kind; "" is that of a name without one, as of UDAPDR."""
    paths = [path for suffix in ("jsonl", "tsv") for path in sorted(folder.glob(f"{stem}.*{suffix}"))]
    return {path.name.removeprefix(stem).rpartition(".")[0].removeprefix("."): path for path in paths}


def write_lotte(path: Path, source: Source) -> int:
    """Documents, and the queries that have relevant ones. Splits of other names than LoTTE's kinds are all `search`."""
    texts = {query.query_id: source.flat(query.text) for _, query, _ in source.queries()}
    with atomic_folder(path) as folder:
        docs, queries = _write_collection(folder, source), dict[str, int]()
        answers: dict[str, dict[str, list[int]]] = {}
        for split, rows in source.judgments().items():
            for place, qrel, _ in rows():
                if qrel.relevance > 0:
                    if qrel.query_id not in texts:
                        raise place.error(f"query {qrel.query_id!r} is none of the {counted(len(texts), 'query')}")
                    kind = answers.setdefault(split if split in KINDS else KINDS[0], {})
                    kind.setdefault(qrel.query_id, []).append(_number(qrel.doc_id, docs, place))
        for kind, pids_of in answers.items():
            numbered = [(queries.setdefault(name, len(queries)), texts[name], pids) for name, pids in pids_of.items()]
            write_lines(folder / f"questions.{kind}.tsv", (f"{number}\t{text}" for number, text, _ in numbered))
            write_jsonl(
                folder / f"qas.{kind}.jsonl",
                ({"qid": number, "query": text, "answer_pids": pids} for number, text, pids in numbered),
            )
        _write_map(folder / QUERY_MAP, queries)
    return len(queries)


def _write_collection(folder: Path, source: Source) -> dict[str, int]:
    """Write collection.tsv and its map; returns the number of each document."""
    numbers: dict[str, int] = {}

    def lines() -> Iterator[str]:
        for number, (_, doc, _) in enumerate(source.docs()):
            numbers[doc.doc_id] = number
            yield f"{number}\t{source.flat(doc.default_text())}"

    write_lines(folder / COLLECTION, lines())
    _write_map(folder / DOC_MAP, numbers)
    return numbers


def _write_map(path: Path, numbers: Mapping[str, int]) -> None:
    write_lines(path, (f"{number}\t{trec.escaped(name)}" for name, number in numbers.items()))


def _number(doc_id: str, numbers: Mapping[str, int], place: Place) -> int:
    if doc_id not in numbers:
        raise place.error(f"document {doc_id!r} is none of the {counted(len(numbers), 'document')}")
    return numbers[doc_id]


def _named(content: Content, folder: Path) -> Content:
    """The content with numbers replaced by original ids, if the folder has maps of them."""
    docs, queries = (_map(folder / name) for name in (DOC_MAP, QUERY_MAP))

    def renamed(rows: Rows[Any] | None) -> Rows[Any] | None:
        if rows is None or (docs is None and queries is None):
            return rows
        return lambda: (row._replace(record=_renamed(row, docs, queries)) for row in rows())

    return Content(
        docs=renamed(content.docs),
        queries=renamed(content.queries),
        qrels={split: rows for split, part in content.qrels.items() if (rows := renamed(part))},
        examples=renamed(content.examples),
    )


def _renamed(row: Row[Any], docs: Mapping[str, str] | None, queries: Mapping[str, str] | None) -> Any:
    """A record with original ids in its fields query_id, doc_id and doc_ids."""
    place, record, _ = row
    names: dict[str, Any] = {}
    if queries is not None and hasattr(record, "query_id"):
        names["query_id"] = _name(record.query_id, queries, place)
    if docs is not None and hasattr(record, "doc_id"):
        names["doc_id"] = _name(record.doc_id, docs, place)
    if docs is not None and hasattr(record, "doc_ids"):
        names["doc_ids"] = tuple(_name(doc_id, docs, place) for doc_id in record.doc_ids)
    return record._replace(**names)


def _map(path: Path) -> Mapping[str, str] | None:
    if not exists(path):
        return None
    names: dict[str, str] = {}
    for place, (number, *rest) in headerless.same_width(path):
        if len(rest) != 1 or number in names:
            raise place.error(f"found {number!r} with {len(rest)} ids; expected each number once, and one id")
        names[number] = trec.unescaped(rest[0])
    return names


def _name(number: str, names: Mapping[str, str], place: Place) -> str:
    if number not in names:
        raise place.error(f"{number} is not in the map of ids beside; expected the file that was written with it")
    return names[number]
