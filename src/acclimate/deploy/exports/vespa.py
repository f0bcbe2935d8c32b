"""Vespa: an application package (schema, rank profile, services), a feed, and the system as a query.

Sources retrieve candidates in YQL: `wand` over BM25's weights as integers, `nearestNeighbor` over dense vectors. Every
member scores every candidate by tensors, and the global phase fuses: `normalize_linear` is the run's min-max scaling,
`reciprocal_rank` its reciprocal rank. `wand`, and `nearestNeighbor` without a graph, retrieve more than requested: each
document that is among the best when it is seen. The tests compute Vespa's results from the exported files, as its
source code does.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.base.errors import DataError
from acclimate.base.files import read_lines, write_json, write_jsonl, write_text
from acclimate.base.text import quoted
from acclimate.deploy.exports import arrays, queries, vespa_schema
from acclimate.deploy.exports.formats import Written
from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.readers import vespa as reader
from acclimate.deploy.exports.source import DENSE, LATE_INTERACTION, LEXICAL, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DOCS_PER_FILE = 512
_TEXTS = ("title", "text")
_DECIMALS = 6  # of weights and vector components
_NONCHARACTERS = "".join(
    map(chr, (end for plane in range(17) for end in (0x10000 * plane + 0xFFFE, 0x10000 * plane + 0xFFFF)))
)
_NO_TEXT = re.compile(f"[\0-\x08\x0b\x0c\x0e-\x1f\ufdd0-\ufdef{_NONCHARACTERS}]")  # not allowed in Vespa's strings


def write(source: Source, folder: Path) -> Written:
    """See the package."""
    queries.save(source, folder / "query")
    application = folder / "application"
    write_text(application / "services.xml", vespa_schema.SERVICES)
    write_text(application / "schemas" / "acclimate.sd", vespa_schema.schema(source))
    write_json(folder / "query.json", _query(source))
    n_docs, n_replaced = _write_feed(source, folder / "feed")
    shutil.copyfile(reader.__file__, folder / "search.py")
    lines = [
        "not tested on a server; with Vespa's own code, it finds almost what the run finds (docs/exports.md)",
        "load it with: vespa deploy application && vespa feed feed/*.jsonl",
    ]
    if n_replaced:
        lines.append(f"{n_replaced:,} texts or titles have characters that Vespa cannot store: replaced by U+FFFD")
    return Written({"documents": n_docs}, {"replaced": n_replaced}, lines)


def _query(source: Source) -> dict[str, Any]:
    """The template of a query for the reader: an operator for each source, and the body around them."""
    named: dict[str, str] = {}
    for name in source.system.sources:
        field, is_lexical = identifier(name), source.kinds[name] in LEXICAL
        operator = f"wand({field}_terms, {{{{terms}}}})" if is_lexical else f"nearestNeighbor({field}_vector, {field})"
        named[field] = f"({{targetHits: {source.system.depth}}}{operator})"
    all_passages = min(vespa_schema.most_candidates(source), vespa_schema.MAX_HITS)  # of the documents asked
    return {
        "select": "select number, doc_id, document_id, title, text from acclimate where",
        "sources": named,
        "hits": all_passages if source.run.input.parents else None,
        "body": {"ranking": "system", "timeout": "10s"},
    }


def _write_feed(source: Source, folder: Path) -> tuple[int, int]:
    """Write the missing files for `vespa feed`; returns the number of documents in all of them, and of texts and titles
    in which characters were replaced."""
    folder.mkdir(exist_ok=True)
    n_replaced = 0
    for part, of_part in arrays.parts(source, folder):
        documents = [document._asdict() for document in part.documents]
        rows = list(map(_row, documents))
        n_replaced += sum(
            row[name] != document[name] for row, document in zip(rows, documents, strict=True) for name in _TEXTS
        )
        for first in range(0, len(rows), _DOCS_PER_FILE):
            path = folder / f"feed-{part.number:05}-{first:04}.jsonl"
            if not path.exists():
                write_jsonl(path, _puts(source, of_part, rows, range(first, min(first + _DOCS_PER_FILE, len(rows)))))
    return sum(1 for path in folder.glob("feed-*.jsonl") for _ in read_lines(path)), n_replaced


def _row(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that belong to no member. Raises DataError for an id that Vespa cannot hold as a string."""
    ids = {field: document[name] for name, field in vespa_schema.IDS.items()}
    for doc_id in ids.values():
        if _NO_TEXT.search(doc_id):
            raise DataError(f"the id {quoted(doc_id)} has a character that Vespa cannot hold; expected none")
    return {"number": document["number"], **ids, **{name: _NO_TEXT.sub("\ufffd", document[name]) for name in _TEXTS}}


def _puts(
    source: Source, of_part: arrays.Arrays, rows: list[dict[str, Any]], places: range
) -> Iterator[dict[str, Any]]:
    for place in places:
        fields = {**rows[place]}
        for name, kind in source.kinds.items():
            fields |= _of_member(identifier(name), name, kind, of_part, place)
        yield {"put": f"id:acclimate:acclimate::{fields['number']}", "fields": fields}


def _of_member(field: str, name: str, kind: str, of_part: arrays.Arrays, place: int) -> Mapping[str, Any]:
    """The fields that a member adds to a document."""
    if kind == DENSE:
        return {f"{field}_vector": _rounded(of_part[name][place].tolist())}
    span = slice(*of_part[f"{name}.starts"][place : place + 2])
    if kind == LATE_INTERACTION:
        tokens, scales = of_part[f"{name}.tokens"][span], of_part[f"{name}.scales"][span].tolist()
        if not scales:  # one token of zeros, since a maximum over no tokens is undefined
            tokens, scales = np.zeros((1, tokens.shape[1]), np.int8), [0.0]
        return {
            f"{field}_tokens": {str(number): vector.tobytes().hex() for number, vector in enumerate(tokens)},
            f"{field}_scales": {str(number): scale for number, scale in enumerate(scales)},
        }
    weights = dict(
        zip(map(str, of_part[f"{name}.terms"][span].tolist()), of_part[f"{name}.weights"][span].tolist(), strict=True)
    )
    return {
        f"{field}_terms": {term: round(reader.WHOLE * weight) for term, weight in weights.items()},
        f"{field}_weights": dict(zip(weights, _rounded(weights.values()), strict=True)),
    }


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, _DECIMALS) for value in values]
