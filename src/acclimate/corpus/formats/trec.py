"""TREC's run and qrels files.

run    qid Q0 docid rank score tag      qrels  qid 0 docid grade

Read at any white space, written with tabs. The order in a written run is ours: score, larger first, then doc id;
ranks count from 1. trec_eval ignores ranks, reads scores in single precision and breaks ties the other way round, so
no two scores of a query are written equal in single precision: any evaluator sees the order that was measured here.

White space and control characters in an id are written as in JSON, `\\u0020`, and read back as what they were; so is
the backslash of an id that looks as if it had been written so. Every other id stands as it is, `%20` included.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import IO, Any

from acclimate.base.errors import DataError
from acclimate.base.files import open_bytes, read_lines, text_writer
from acclimate.base.text import counted
from acclimate.corpus.formats.fields import Located, Place, as_json, finite
from acclimate.records import Qrel, ScoredDoc

GRADE = re.compile(r"[+-]?[0-9]{1,9}(?:\.0+)?")  # data sets of a hub have 1.0

_BREAKS = r"\s\x00-\x1f\x7f-\x9f\ufeff"  # what would end a word or a line, or be taken for a byte order mark
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")
_LARGEST = 2.0**127  # of the scores written: below it single precision has room for ties


def escaped(name: str, breaks: str = _BREAKS) -> str:
    """An id as one word of a line; `unescaped` gives it back. breaks: characters that no word may have."""
    if breaks == _BREAKS and name.isascii() and name.isprintable() and " " not in name and "\\" not in name:
        return name
    return re.sub(rf"[{breaks}]|\\(?=u[0-9a-f]{{4}})", lambda match: f"\\u{ord(match[0]):04x}", name)


def unescaped(word: str) -> str:
    """The id that was written as this word. Escapes of other characters are none of ours and stay."""

    def decoded(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return character if character == "\\" or re.match(f"[{_BREAKS}]", character) else match[0]

    return _ESCAPE.sub(decoded, word) if "\\" in word else word


def read_run(path: Path) -> Located[ScoredDoc]:
    """The lines of a run in the order of the file, streamed. The lines of one query must stand together."""
    return Located(_run_rows(path, read_lines(path)))


def read_top(path: Path, depth: int) -> Located[ScoredDoc]:
    """The first `depth` hits of each query of a run that `write_run` wrote; what lies deeper is passed over unread."""
    return Located(_run_rows(path, _top_lines(path, depth)))


def write_run(path: Path, run: Iterable[ScoredDoc], *, tag: str = "acclimate") -> int:
    """A run: queries in the order given, docs by (-score, doc_id). Returns how many lines.

    The lines of one query must come together. Scores are read back as they are given, but for those that are equal to
    the one before or differ too little from it for single precision: these become the next lower number.
    Refused: an empty id or tag, a score that is not finite, a doc that comes twice for a query.
    """
    with run_writer(path, tag=tag) as write:
        return write(run)


@contextmanager
def run_writer(path: Path, *, tag: str) -> Iterator[Callable[[Iterable[ScoredDoc]], int]]:
    """What writes a run part by part, as `write_run` does, the hits of a query in one part."""
    tag, done = _word(tag, "tag", path), set[str]()
    with text_writer(path) as lines:
        yield lambda hits: _write_hits(lines, hits, path, tag, done)


def _write_hits(lines: IO[str], hits: Iterable[ScoredDoc], path: Path, tag: str, done: set[str]) -> int:
    """Returns how many lines. done: ids of the queries that are written."""
    import numpy as np

    count = 0
    for query_id, hits_of_query in groupby(hits, attrgetter("query_id")):
        if query_id in done:
            raise DataError(f"the hits of query {query_id!r} do not come together", path=path)
        done.add(query_id)
        seen = set[str]()
        query, last = _word(query_id, "query id", path), np.float32(np.inf)
        for rank, hit in enumerate(sorted(hits_of_query, key=lambda hit: (-hit.score, hit.doc_id)), 1):
            if not math.isfinite(hit.score):
                raise DataError(f"score of {hit.doc_id!r} for query {query_id!r} is {hit.score}", path=path)
            if hit.doc_id in seen:
                raise DataError(f"doc {hit.doc_id!r} appears twice for query {query_id!r}", path=path)
            seen.add(hit.doc_id)
            score = min(max(float(hit.score), -_LARGEST), _LARGEST)
            if not np.float32(score) < last:
                score = float(np.nextafter(last, np.float32(-np.inf)))
            last = np.float32(score)
            lines.write(f"{query}\tQ0\t{_word(hit.doc_id, 'doc id', path)}\t{rank}\t{score!r}\t{tag}\n")
            count += 1
    return count


def read_qrels(path: Path) -> list[Qrel]:
    """The judgments in the order of the file; a repeated line counts once."""
    return [qrel for _, qrel in judged_once(qrel_rows(path), path)]


def write_qrels(path: Path, qrels: Iterable[Qrel]) -> int:
    """Four columns, tabs between. Returns how many judgments."""
    count = 0
    with text_writer(path) as lines:
        for qrel in qrels:
            names = {"query id": qrel.query_id, "iteration": qrel.iteration, "doc id": qrel.doc_id}
            words = [_word(name, what, path) for what, name in names.items()]
            lines.write("\t".join((*words, str(qrel.relevance))) + "\n")
            count += 1
    return count


def qrel_rows(path: Path) -> Iterator[tuple[Place, Qrel]]:
    """Each judgment with its place."""
    for place, (query_id, iteration, doc_id, relevance) in _words(
        path, read_lines(path), ("qid", "0", "docid", "grade")
    ):
        grade_ = grade(relevance, "grade", place)
        yield place, Qrel(unescaped(query_id), unescaped(doc_id), grade_, unescaped(iteration))


def judged_once(rows: Iterable[tuple[Place, Qrel]], path: Path) -> list[tuple[Place, Qrel]]:
    """The rows without repetitions. Two grades for one pair, and no row at all, are refused."""
    first: dict[tuple[str, str], tuple[Place, Qrel]] = {}
    for place, qrel in rows:
        earlier_place, earlier = first.setdefault((qrel.query_id, qrel.doc_id), (place, qrel))
        if earlier.relevance != qrel.relevance:
            raise place.error(
                f"query {qrel.query_id!r} and doc {qrel.doc_id!r} are graded {qrel.relevance} here and "
                f"{earlier.relevance} in line {earlier_place.line}; remove one"
            )
    if not first:
        raise DataError("no judgments in this file; expected one per line", path=path)
    return list(first.values())


def grade(value: Any, name: str, place: Place) -> int:
    """A relevance grade: an integer, or its text."""
    if not GRADE.fullmatch(str(value).strip()):
        raise place.error(f"{name!r} is {as_json(value)}; expected an integer grade of at most nine digits")
    return int(str(value).partition(".")[0])


def _run_rows(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[Place, ScoredDoc]]:
    done, current, seen = set[str](), None, set[str]()
    names = ("qid", "Q0", "docid", "rank", "score", "tag")
    for place, (query_id, _, doc_id, _, score, _) in _words(path, lines, names):
        if query_id != current:
            if query_id in done:
                raise place.error(f"query {query_id!r} comes again; put its lines together: sort -s -k1,1 {path.name}")
            done.add(query_id)
            current, seen = query_id, set[str]()
        if doc_id in seen:
            raise place.error(f"doc {doc_id!r} appears twice for query {query_id!r}; remove one line")
        seen.add(doc_id)
        yield place, ScoredDoc(unescaped(query_id), unescaped(doc_id), finite(score, "score", place))


def _top_lines(path: Path, depth: int) -> Iterator[tuple[int, str]]:
    """Neither split nor decoded but what is wanted: a run of a million lines takes tenths of a second."""
    query, left = b"", 0
    with open_bytes(path) as lines:
        for number, line in enumerate(lines, 1):
            if not query or not line.startswith(query):
                query, left = line[: line.find(b"\t") + 1], depth
            if left:
                left -= 1
                yield number, line.decode("utf-8", "replace")


def _words(path: Path, lines: Iterable[tuple[int, str]], names: tuple[str, ...]) -> Iterator[tuple[Place, list[str]]]:
    for number, line in lines:
        place, words = Place(path, number), line.split()
        if not words:
            continue
        if len(words) != len(names):
            raise place.error(
                f"found {counted(len(words), 'column')}, {as_json(line)}; expected {len(names)}: {' '.join(names)}"
            )
        yield place, words


def _word(name: str, what: str, path: Path) -> str:
    if not name:
        raise DataError(f"a {what} is empty; expected text", path=path)
    return escaped(name)
