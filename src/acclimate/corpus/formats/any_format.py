"""Read synthetic queries and training examples of any known format, for runs that start from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from acclimate.corpus.formats import registry
from acclimate.corpus.formats.beir import files_of_judgments
from acclimate.corpus.formats.collection_files import read_beir
from acclimate.corpus.formats.content import Content, Row
from acclimate.corpus.formats.fields import Located
from acclimate.corpus.formats.registry import recognize
from acclimate.corpus.formats.source import HASHED, Source
from acclimate.records import Doc, NWay, Query, SyntheticQuery

REPEATED = "queries left out whose id came before"


class Training(NamedTuple):
    """Training examples with the texts of their queries."""

    queries: list[Query]  # each once, in the order of the examples
    examples: list[NWay]
    dropped: Counter[str]  # what was left out, by reason


def read_any_synthetic(path: Path) -> Located[SyntheticQuery]:
    """Synthetic queries of ours, of InPars v1, v2 or +, of GPL or UDAPDR, or the judged queries of a BEIR folder.

    A file of queries with its folder of qrels beside it, of BEIR or GPL, is read with it.

    Each query id appears once, with its first relevant document; others are counted in `dropped`. Of a folder with
    several splits, train is read. Raises DataError for a file of another or unknown kind.
    """
    source = _written(path)
    return Located(((row.place, row.record) for row in _each_once(source)), dropped=source.notes)


def read_any_written(path: Path) -> Located[tuple[SyntheticQuery, str | None]]:
    """`read_any_synthetic`, each query with the text of its source document, if the file has it."""
    source = _written(path)
    rows = ((row.place, (row.record, row.others.get("text"))) for row in _each_once(source))
    return Located(rows, dropped=source.notes)


def read_any_nway(path: Path, corpus: Mapping[str, Doc], *, queries: Path | None = None) -> Training:
    """Training examples of any format, with ids of documents in `corpus`, in which texts without ids are looked up.

    queries: a file of queries, for formats that have only their ids. Without it, queries given as texts get the ids of
    synthetic queries. Raises DataError for a document that is not in the corpus, and for a query without text.
    """
    texts = None
    if queries is not None:
        content = _content(queries, registry.QUERIES, registry.SYNTHETIC, registry.COLLECTIONS)
        texts = dict(row.record for row in Source(content, queries).queries())
    source = Source(_content(path, registry.EXAMPLES), path, documents=lambda: corpus, queries=texts)
    query_of: dict[str, Query] = {}
    known: set[str] = set()
    examples: list[NWay] = []
    for place, example, _ in source.examples():
        for doc_id in example.doc_ids:
            if doc_id not in known:
                source.lookup.doc_text(doc_id, place)  # raises where there is none
                known.add(doc_id)
        text = source.lookup.query_text(example, place)
        if query_of.setdefault(example.query_id, Query(example.query_id, text)).text != text:
            raise place.error(f"query {example.query_id!r} has another text earlier in the file; ids must be unique")
        examples.append(NWay(example.query_id, example.doc_ids, example.scores, example.has_positive))
    source.notes.pop(HASHED, None)  # the texts are here
    return Training(list(query_of.values()), examples, +source.notes)


def are_rated(path: Path) -> bool:
    """True where the first training example has scores. Raises DataError for a file of another kind."""
    content = _content(path, registry.EXAMPLES)
    first = next(iter(content.examples()), None) if content.examples else None
    return first is not None and bool(first.record.scores)


def _content(path: Path, *kinds: str) -> Content:
    return recognize(path, kinds).read(path)


def _with_judgments(path: Path) -> Content | None:
    """The queries of a file of BEIR or GPL with the judgments beside it; None for any other file."""
    prefix = path.name.removesuffix("queries.jsonl")
    if prefix == path.name or not files_of_judgments(path.parent, prefix=prefix):
        return None
    if recognize(path, (registry.QUERIES,)).kind != registry.QUERIES:
        return None
    return read_beir(path.parent, prefix=prefix.removesuffix("-"))


def _written(path: Path) -> Source:
    return Source(_with_judgments(path) or _content(path, registry.SYNTHETIC, registry.COLLECTIONS), path)


def _each_once(source: Source) -> Iterator[Row[SyntheticQuery]]:
    seen: set[str] = set()
    row: Row[SyntheticQuery]
    for row in source.synthetic():
        if row.record.query_id in seen:
            source.notes[REPEATED] += 1
            continue
        seen.add(row.record.query_id)
        yield row
