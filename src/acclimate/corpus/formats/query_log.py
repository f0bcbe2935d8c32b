"""Logs of real queries as people keep them, and as search engines and analytics export them.

.txt .log      a query a line
.jsonl         an object a line, or what Elasticsearch has in `_source`
.csv .tsv      a first line with the names of the columns; lines that begin with `# ` above it are passed over

each also with .gz behind. A column is known by its name, of which only letters and digits count (`Search term`,
`search_term`, `searchTerm`); the first of a list that is there is taken. A row without a count stands for one search.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.base.errors import DataError
from acclimate.base.files import open_bytes, read_lines
from acclimate.corpus.formats import fields, tables
from acclimate.corpus.formats.fields import Field, Place
from acclimate.corpus.formats.rows import json_rows

TEXT = (".txt", ".log")
JSONL = (".jsonl", ".ndjson")
TABLES = (".csv", ".tsv")

# Behind a name: who exports it
QUERIES = (
    "userquery",  # OpenSearch UBI, whose `query` is the engine's request
    "query",  # Google Search Console's API, Meilisearch, BEIR
    "searchquery",
    "querytext",
    "querystring",
    "queryterms",  # Azure AI Search's traffic analytics
    "topqueries",  # Google Search Console
    "searchterm",  # Google Analytics, Adobe Analytics
    "searchterms",
    "searchtext",
    "searchstring",
    "searchphrase",
    "searchkeyword",  # Matomo
    "search",  # Algolia
    "keyword",
    "keywords",
    "term",  # Elastic App Search
    "phrase",
    "question",
    "q",  # Typesense, Solr
    "queries",
    "text",
    "key",  # Elasticsearch's terms aggregation
    "label",  # Matomo's API
)
SEARCHES = (
    "count",
    "searchcount",
    "querycount",
    "searches",
    "totalsearches",
    "totaluniquesearches",  # Universal Analytics
    "uniquesearches",
    "nbsearches",
    "eventcount",  # Google Analytics
    "impressions",  # Google Search Console
    "frequency",
    "freq",
    "occurrences",
    "volume",
    "searchvolume",
    "queries",  # Elastic App Search
    "doccount",  # Elasticsearch's terms aggregation
    "nbvisits",  # Matomo's API
    "visits",
    "total",
    "n",
)
CLICKS = ("clicks", "clickcount", "totalclicks", "nbclicks")
_OF_DOCUMENTS = ("title", "description", "body", "content", "contents", "abstract", "price", "sku", "brand")
_SHARED = ("keyword", "keywords", "term", "phrase", "text", "key", "label")  # names of QUERIES that documents have, too

_MOST = 10**15  # largest plausible number of searches
_NUMBER = re.compile(r"\d{1,3}([., '\u2019\u00a0\u202f])\d{3}(?:\1\d{3})*|(\d+)(?:[.,]0+)?", re.ASCII)
_BINARY = {  # first bytes of a file -> its type
    b"SQLite format 3\0": "an SQLite database",
    b"PK\x03\x04": "an Excel or zip file",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"PAR1": "a Parquet file",
}
_NO_QUERY = {  # beginnings of text files without one query per line -> advice
    r"""\s*(?:\{"|\[\{).*""": "looks like JSON; give a file of JSON Lines a name that ends in .jsonl",
    r".*\t.*": "looks like a table; give its columns names in a first line, and the file one that ends in .tsv",
    r" +\d+ \S.*": "looks like what `uniq -c` writes; leave that out, lines are counted here",
    r'.*"(?:GET|POST|HEAD|PUT|OPTIONS) \S+ HTTP/.*': "looks like the log of a web server; take the queries out of it",
}


class Entry(NamedTuple):
    """A line or row of a log."""

    text: str  # as it was written
    searches: int = 1
    clicks: int = 0


def read_query_log(path: Path) -> Iterator[Entry]:
    """Stream the entries of a log in its order. Raises DataError for an invalid file or line."""
    with open_bytes(path) as stream:
        begin = stream.read(512)
    names = ", ".join((*TEXT, *JSONL, *TABLES))
    expected = f"expected real queries in a file whose name ends in {names}, or one of them with .gz behind"
    name = path.name.lower().removesuffix(".gz")
    for magic, kind in _BINARY.items():
        if begin.startswith(magic):
            raise DataError(f"is {kind}; {expected}: export it as CSV, or unpack it", path=path)
    if name.endswith(TEXT):
        return _lines(path)
    if name.endswith(JSONL):
        return _entries((place, _source(row)) for place, row in json_rows(path))
    if name.endswith(TABLES):
        return _entries(tables.text_rows(path))
    raise DataError(f"unknown format; {expected}", path=path)


def _lines(path: Path) -> Iterator[Entry]:
    is_first = True
    for number, line in read_lines(path):
        if not line.strip():
            continue
        if is_first:
            advice = next((advice for form, advice in _NO_QUERY.items() if re.fullmatch(form, line[:1000])), "")
            if advice:
                raise DataError(f"{advice}; expected one query per line", path=path, line=number)
            is_first = False
        yield Entry(line)


def _source(row: dict[str, Any]) -> dict[str, Any]:
    source = row.get("_source")
    return source if isinstance(source, dict) else row


def _entries(rows: Iterator[tuple[Place, dict[str, Any]]]) -> Iterator[Entry]:
    names: list[str] | None = None
    columns = _Columns("", None, None)
    for place, row in rows:
        if names != list(row):
            names = list(row)
            columns = _columns(names, place)
        yield Entry(
            _text(row[columns.query], columns.query, place),
            _whole(row, columns.searches, 1, place),
            _whole(row, columns.clicks, 0, place),
        )


class _Columns(NamedTuple):
    query: str
    searches: str | None
    clicks: str | None


def _columns(names: list[str], place: Place) -> _Columns:
    """The names of the columns in the file."""
    plain = {"".join(filter(str.isalnum, name)).casefold(): name for name in reversed(names)}
    query = next((name for name in QUERIES if name in plain), None)
    if query is None:
        missing = fields.missing(names, Field("query", ("query", "search term", "keyword", "q")))
        raise place.error(
            f"{missing}. docs/queries.md lists all names; call the column 'query', or the file .txt where it has a "
            "query a line"
        )
    others = [plain[name] for name in _OF_DOCUMENTS if name in plain]
    if others and query in _SHARED:
        raise place.error(
            f"looks like documents, with {', '.join(map(fields.as_json, others))} beside "
            f"{fields.as_json(plain[query])}; expected real queries. If it has them, call their column 'query'"
        )
    searches = next((name for name in SEARCHES if name in plain and name != query), "")
    clicks = next((name for name in CLICKS if name in plain), "")
    return _Columns(plain[query], plain.get(searches), plain.get(clicks))


def _text(value: Any, name: str, place: Place) -> str:
    """A query: text, or a number used as a query; "" for null."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else fields.text(value, name, place)


def _whole(row: Mapping[str, Any], name: str | None, default: int, place: Place) -> int:
    """A number of searches or clicks, optionally with thousands separators; the default if missing."""
    value = default if name is None else row[name]
    if value is None or (isinstance(value, str) and not value.strip()):
        return default
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value.strip()[:100])):
        value = int(match[2] or re.sub(r"\D", "", match[0]))
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise place.error(f"{name!r} is {fields.as_json(value)}; expected a whole number that is not below 0")
    return value
