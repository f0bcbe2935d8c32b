"""What exports to Elasticsearch and OpenSearch share: documents as bulk files, and how they are checked.

Their results are computed (see `simulated_engine`), and labelled as such. BM25's weights are features of a document,
named by its words. Both engines keep a feature's weight in nine bits, so scores are within a quarter of a percent of
the run's; their own BM25 over `text` analyzes and weighs differently. Token vectors are left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.base.files import read_lines, write_json, write_jsonl
from acclimate.base.text import counted
from acclimate.deploy.exports import arrays, queries, simulated_engine
from acclimate.deploy.exports.check import check
from acclimate.deploy.exports.formats import Written
from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.postings import kept, terms_of
from acclimate.deploy.exports.readers import search_engines as reader
from acclimate.deploy.exports.source import DENSE, LEXICAL, Part, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DOCS_PER_FILE = 512
_DECIMALS = 6  # of a vector's component
_LONGEST = 8191  # characters of an id that is indexed: a longer one can be more than Lucene's 32,766 bytes


def mapping(
    source: Source,
    engine: simulated_engine.Engine,
    lexical: dict[str, Any],
    dense: Callable[[int], dict[str, Any]],
) -> dict[str, Any]:
    """The mapping of an index. lexical, dense: the mapping of fields of these kinds, that of vectors by dimension."""
    fields: dict[str, Any] = {name: {"type": "keyword", "ignore_above": _LONGEST} for name in ("id", "document")}
    fields |= {"number": {"type": "integer"}, "title": {"type": "text"}, "text": {"type": "text"}}
    for name, kind in source.kinds.items():
        if kind in LEXICAL:
            fields[identifier(name)] = lexical
        elif kind == DENSE:
            fields[identifier(name)] = dense(source.dim(name))
    return {"mappings": {"_meta": {"needs": engine.needs}, "dynamic": "strict", "properties": fields}}


def write(
    source: Source,
    folder: Path,
    engine: simulated_engine.Engine,
    requests: Mapping[str, Any],
    weights: dict[str, float],
) -> Written:
    """Write an export for an engine. requests: contents of JSON files (mapping.json, query.json, ...) by name."""
    queries.save(source, folder / "query")
    n_docs = _write_bulk(source, folder / "bulk")
    for name, request in requests.items():
        write_json(folder / name, request)
    shutil.copyfile(reader.__file__, folder / "search.py")
    share = check(source, simulated_engine.search(source, weights, engine))
    expected = {"queries": share["queries"], "overlap": share["overlap"]}
    line = (
        f"not run here: as it computes, {engine.name} finds {share['overlap']:.2f} of this run's first ten for "
        f"{counted(share['queries'], 'query')} where it searches exactly"
    )
    return Written({"documents": n_docs}, {"expected": expected}, [line, "load it with: python search.py URL"])


def _write_bulk(source: Source, folder: Path) -> int:
    """Write the missing files for `_bulk`; returns the number of documents in all of them, as read back."""
    folder.mkdir(exist_ok=True)
    words: dict[str, list[str]] = {}
    for name, kind in source.kinds.items():
        if kind in LEXICAL:
            member: Any = source.system.members[name]
            words[name] = [reader.feature(word) for word in terms_of(member)]
    for part, of_part in arrays.parts(source, folder):
        for first in range(0, len(part.documents), _DOCS_PER_FILE):
            path = folder / f"bulk-{part.number:05}-{first:04}.ndjson"
            if not path.exists():
                write_jsonl(path, _rows(source, part, of_part, words, range(first, first + _DOCS_PER_FILE)))
    return sum(1 for path in folder.glob("bulk-*.ndjson") for _ in read_lines(path)) // 2


def _rows(
    source: Source, part: Part, of_part: arrays.Arrays, words: Mapping[str, list[str]], places: range
) -> Iterator[dict[str, Any]]:
    for place in places[: len(part.documents) - places.start]:
        row = part.documents[place]._asdict()
        for name, kind in source.kinds.items():
            if kind == DENSE:
                if of_part[name][place].any():  # Elasticsearch refuses the zero vector
                    row[identifier(name)] = [round(value, _DECIMALS) for value in of_part[name][place].tolist()]
            elif kind in LEXICAL:
                span = slice(*of_part[f"{name}.starts"][place : place + 2])
                terms, weights = (
                    of_part[f"{name}.terms"][span].tolist(),
                    kept(of_part[f"{name}.weights"][span]).tolist(),
                )
                row[identifier(name)] = {words[name][term]: weight for term, weight in zip(terms, weights, strict=True)}
        yield {"index": {"_id": str(row["number"])}}
        yield row
