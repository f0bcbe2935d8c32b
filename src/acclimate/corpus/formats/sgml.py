"""TREC's documents and topics in SGML or XML (read only).

documents  <DOC> with <DOCNO> (or an id in its tag); its title is in TITLE, HEADLINE, HEAD, HL or TTL, its text in LP,
           LEADPARA and TEXT, or else all that is left; behind a <DOCHDR> is a web page
topics     <top> with <num> and <title>, or <topic number="..."> with <query>; one without a title asks its description

Ids stand as they are, blanks around them aside. Between documents nothing may stand but tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from acclimate.base.files import LONGEST, read_lines
from acclimate.corpus.formats import fields
from acclimate.corpus.formats.content import Content, Row
from acclimate.corpus.formats.fields import Place, as_json, identifier
from acclimate.corpus.formats.html import read_page
from acclimate.corpus.formats.samples import Sample
from acclimate.records import Doc, Query

_DOC, _TOPIC = "doc", "top(?:ic)?"
_TITLES, _TEXTS = ("title", "headline", "head", "hl", "ttl"), ("lp", "leadpara", "text")
_PARTS = re.compile(rf"<(/?)(docno|docid|{'|'.join((*_TITLES, *_TEXTS))})(?:\s[^<>]*)?>", re.IGNORECASE)
_DOCNO = re.compile(r"<docno>\s*([^<>]*?)\s*</docno>", re.IGNORECASE)
_HEADER_END = re.compile(r"</dochdr>", re.IGNORECASE)
_ID = re.compile(r"""\s(?:id|number)\s*=\s*["']?([^"'<>\s]+)""", re.IGNORECASE)
_TOPIC_PART = re.compile(r"<(\w+)[^<>]*>\s*(?:(?:number|topic|description|narrative):)?([^<]*)", re.IGNORECASE)
_ASKED = ("title", "query", "desc", "description", "question", "summary")  # the first non-empty one is the query
_BETWEEN = re.compile(r"(?:\s|<[^<>]*>)*")


def are_docs(sample: Sample) -> int:
    """True if lines begin with a <DOC>, or with tags around the first."""
    return _begins_with(_DOC, sample)


def are_topics(sample: Sample) -> int:
    """True if lines begin with a topic, or with tags around the first."""
    return _begins_with(_TOPIC, sample)


def read_docs(path: Path) -> Content:
    """Stream each <DOC>."""
    return Content(docs=lambda: (Row(*doc) for doc in docs(path)))


def read_topics(path: Path) -> Content:
    """Each topic as a query."""
    return Content(queries=lambda: (Row(Place(path), query) for query in queries(path)))


def queries(path: Path) -> list[Query]:
    """The queries of a file of topics, in its order."""
    return fields.queries(map(_topic, _elements(path, _TOPIC)), path)


def _begins_with(name: str, sample: Sample) -> int:
    begin = "\n".join(line[:1000] for line in sample.rows) if sample.kind == "lines" else ""
    return int(bool(re.match(rf"(?:\s|<[^<>]*>)*?<{name}(?:\s[^<>]*)?>", begin, re.IGNORECASE)))


def _elements(path: Path, name: str) -> Iterator[tuple[Place, str, str]]:
    """Place, start tag and content of each element of that name. Raises DataError by line."""
    tags = re.compile(rf"(</?{name}(?:\s[^<>]*)?>)", re.IGNORECASE)
    place: Place | None = None
    tag, pieces, size = "", list[str](), 0
    for number, line in read_lines(path):
        for is_tag, piece in enumerate(tags.split(line)):
            if is_tag % 2 and not piece.startswith("</"):
                if place:
                    raise Place(path, number).error(
                        f"{piece} within the {tag} of line {place.line}, which does not end"
                    )
                place, tag, pieces, size = Place(path, number), piece, [], 0
            elif is_tag % 2:
                if place is None:
                    raise Place(path, number).error(f"{piece} ends what does not begin")
                yield place, tag, "".join(pieces)
                place = None
            elif place:
                pieces.append(piece)
                size += len(piece)
            elif not _BETWEEN.fullmatch(piece):
                raise Place(path, number).error(
                    f"found {as_json(piece)}; expected nothing between what ends and begins"
                )
        pieces.append("\n")
        if place and size > LONGEST:
            raise place.error(f"{tag} has more than {LONGEST:,} characters; is its end missing?")
    if place:
        raise place.error(f"{tag} does not end")


def docs(path: Path) -> Iterator[tuple[Place, Doc]]:
    """Stream each <DOC> with its place."""
    for place, tag, content in _elements(path, _DOC):
        doc_id = _DOCNO.search(content) or _ID.search(tag)
        if not doc_id or not doc_id[1]:
            raise place.error(f"{tag} has no <DOCNO>; expected its id there")
        if header_end := _HEADER_END.search(content):
            title, text = read_page(content[header_end.end() :])
        else:
            parts = _parts(content, place)
            title, text = (
                " ".join(_seen(parts[name]) for name in names if name in parts) for names in (_TITLES, _TEXTS)
            )
            text = text or _seen(parts[""])
        yield place, Doc(identifier(doc_id[1], "DOCNO", place), text, title)


def _seen(content: str) -> str:
    return read_page(content)[1]


def _parts(content: str, place: Place) -> Mapping[str, str]:
    """The content of known elements by lower-case name, and of the rest under "". Nested elements are ignored."""
    parts: dict[str, list[str]] = {}
    name, start = "", 0
    for mark in _PARTS.finditer(content):
        is_end, following = bool(mark[1]), mark[2].lower()
        if is_end is not bool(name) or (is_end and following != name):
            continue  # nested inside another element
        parts.setdefault(name, []).append(content[start : mark.start()])
        name, start = ("" if is_end else following), mark.end()
    if name:
        raise place.error(f"a <{name.upper()}> in the document that begins here does not end")
    parts.setdefault(name, []).append(content[start:])
    return {name: "\n".join(pieces) for name, pieces in parts.items()}


def _topic(element: tuple[Place, str, str]) -> tuple[Place, dict[str, Any]]:
    place, tag, content = element
    parts = {name.lower(): " ".join(read_page(text)[1].split()) for name, text in _TOPIC_PART.findall(content)}
    attribute = _ID.search(tag)
    query_id = parts.get("num") or (attribute[1] if attribute else "")
    if not query_id:
        raise place.error(f"{tag} has no <num>; expected its id there")
    text = next((parts[name] for name in _ASKED if parts.get(name)), "")
    return place, {"_id": query_id, "text": text}
