"""ColBERT's files, which LoTTE and UDAPDR use too.

colbert-triples    one list a line: [qid, pid+, pid-]
colbert-examples   one list a line, though the file ends in .json: [qid, [pid, score], [pid, score], ...], the positive
                   first; UDAPDR's tuples are these
colbert-scores     one list a line: [qid, [[score, pid], ...]], the score first and nested, by score
colbert-ranking    qid⇥pid⇥rank, perhaps ⇥score
qas                {"qid", "query", "answer_pids", perhaps "answer_scores"}: LoTTE's, and UDAPDR's synthetic queries
udapdr-results     one object: qids, pids, logits, labels, lists that go together (read only)

ColBERT trains on examples and triples once, in the order of the file, so they are written in random order: otherwise a
batch would hold the examples of one query. It takes ids for line numbers, so only whole numbers are written.
`colbert_folders` numbers other ids, and lists them in collection.ids.tsv and queries.ids.tsv.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from acclimate.base.files import write_jsonl
from acclimate.base.spilled import collect
from acclimate.base.text import counted
from acclimate.corpus.formats.content import Content, Example, Row
from acclimate.corpus.formats.fields import Field, Place, as_json, finite, identifier, number, read_field, text, without
from acclimate.corpus.formats.headerless import write_ids
from acclimate.corpus.formats.rows import json_list, lists, objects, whole_object
from acclimate.corpus.formats.source import Source
from acclimate.corpus.formats.tables import headerless_rows
from acclimate.corpus.formats.writing import write_objects
from acclimate.records import Qrel, Query, ScoredDoc

QID, QUERY, ANSWERS = Field("query id", ("qid",)), Field("query", ("query",)), Field("answers", ("answer_pids",))
_LINE_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def read_triples(path: Path) -> Content:
    """[qid, pid+, pid-], and lists with more negatives."""

    def examples() -> Iterator[Row[Example]]:
        for place, values in lists(path):
            if len(values) < 3:
                raise place.error(f"found {as_json(values)}; expected [qid, positive pid, negative pid]")
            query_id, *doc_ids = (identifier(value, "id", place) for value in values)
            yield Row(place, Example(query_id, doc_ids=tuple(doc_ids)))

    return Content(examples=examples)


def write_triples(path: Path, source: Source) -> int:
    """One list per negative, in random order."""
    rows = (
        [line_number(name, row.place) for name in (row.record.query_id, row.record.doc_ids[0], negative)]
        for row in source.examples(negatives=True)
        for negative in row.record.doc_ids[1:]
    )
    return write_jsonl(path, in_random_order(rows, path.parent))


def read_examples(path: Path) -> Content:
    """[qid, [pid, score], ...]; without scores, [qid, pid, ...]."""

    def examples() -> Iterator[Row[Example]]:
        for place, values in lists(path):
            if len(values) < 2:
                raise place.error(f"found {as_json(values)}; expected [qid, [pid, score], ...]")
            qid, *docs = values
            pairs = [doc if isinstance(doc, list) else [doc] for doc in docs]
            yield _example(place, qid, pairs)

    return Content(examples=examples)


def write_examples(path: Path, source: Source) -> int:
    """One list per example, with scores if it has them, in random order."""

    def rows() -> Iterator[list[Any]]:
        for place, example, _ in source.examples():
            pids = [line_number(doc_id, place) for doc_id in example.doc_ids]
            pairs = zip(pids, example.scores, strict=True) if example.scores else None
            yield [line_number(example.query_id, place), *(map(list, pairs) if pairs else pids)]

    return write_jsonl(path, in_random_order(rows(), path.parent))


def in_random_order(rows: Iterable[list[Any]], folder: Path) -> Iterator[list[Any]]:
    """The rows in an order that follows from their number. folder: where they wait."""
    kept = collect(rows, folder)
    yield from (kept[place] for place in random.Random(0).sample(range(len(kept)), len(kept)))


def read_scores(path: Path) -> Content:
    """[qid, [[score, pid], ...]]: no positive is known, so the best by score comes first."""

    def examples() -> Iterator[Row[Example]]:
        for place, values in lists(path):
            if len(values) != 2 or not isinstance(values[1], list) or not values[1]:
                raise place.error(f"found {as_json(values)}; expected [qid, [[score, pid], ...]]")
            pairs = [pair[::-1] if isinstance(pair, list) and len(pair) == 2 else pair for pair in values[1]]
            if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
                raise place.error(f"found {as_json(values[1])}; expected a list of [score, pid]")
            row = _example(place, values[0], pairs)
            best_first = sorted(range(row.record.n_ways), key=lambda n: -row.record.scores[n])
            yield row._replace(record=row.record.keeping(best_first)._replace(has_positive=False))

    return Content(examples=examples)


def write_scores(path: Path, source: Source) -> int:
    """One list per example, best score first."""

    def rows() -> Iterator[list[Any]]:
        for place, example, _ in source.examples():
            if not example.scores:
                raise place.error("an example without scores; ColBERT's scores need one per document")
            pids = [line_number(doc_id, place) for doc_id in example.doc_ids]
            pairs = sorted(zip(example.scores, pids, strict=True), key=lambda pair: -pair[0])
            yield [line_number(example.query_id, place), [list(pair) for pair in pairs]]

    return write_jsonl(path, rows())


def read_ranking(path: Path) -> Content:
    """A run; without scores, they are derived from ranks, the first being the highest."""
    return Content(run=lambda: (Row(*hit) for hit in ranking(path)))


def ranking(path: Path) -> Iterator[tuple[Place, ScoredDoc]]:
    """Stream the lines of a file with their places."""
    for place, cells in headerless_rows(path, is_raw=True):
        if len(cells) not in (3, 4):
            raise place.error(
                f"found {counted(len(cells), 'cell')}; expected qid, pid, rank and perhaps score between tabs"
            )
        if not _LINE_NUMBER.fullmatch(cells[2]):
            raise place.error(f"the rank is {as_json(cells[2])}; expected a whole number")
        score = finite(cells[3], "score", place) if len(cells) == 4 else -float(cells[2])
        query_id, doc_id = (identifier(cell, "id", place) for cell in cells[:2])
        yield place, ScoredDoc(query_id, doc_id, score)


def write_ranking(path: Path, source: Source) -> int:
    """Ranks from 1, best first, ties by document id. The hits of a query stand together."""

    def rows() -> Iterator[tuple[Place, tuple[str, ...]]]:
        for query_id, hits in groupby(source.run(), lambda row: row.record.query_id):
            best_first = sorted(hits, key=lambda row: (-row.record.score, row.record.doc_id))
            for rank, (place, hit, _) in enumerate(best_first, 1):
                yield place, (query_id, hit.doc_id, str(rank), repr(float(hit.score)))

    return write_ids(path, rows())


def read_qas(path: Path, *, split: str = "") -> Content:
    """Queries and their answers, graded 1 unless there are grades. split: that of LoTTE's files is test, else train."""
    split = split or ("test" if path.name.startswith(("qas.search.", "qas.forum.")) else "train")

    def rows() -> Iterator[tuple[Place, Query, list[Qrel], dict[str, Any]]]:
        for place, values in objects(path):
            query_id = read_field(values, QID, identifier, place)
            query = Query(query_id, read_field(values, QUERY, text, place))
            pids = read_field(values, ANSWERS, json_list, place)
            grades = json_list(values.get("answer_scores", [1] * len(pids)), "answer_scores", place)
            if len(grades) != len(pids) or not all(isinstance(grade, int) for grade in grades):
                raise place.error(f"'answer_scores' is {as_json(grades)}; expected one grade per answer, {len(pids)}")
            qrels = [
                Qrel(query_id, identifier(pid, "answer_pids", place), grade)
                for pid, grade in zip(pids, grades, strict=True)
            ]
            used = ("qid", "query", "answer_pids", "answer_scores")
            yield place, query, qrels, without(values, used)

    return Content(
        queries=lambda: (Row(place, query, others) for place, query, _, others in rows()),
        qrels={split: lambda: (Row(place, qrel) for place, _, qrels, _ in rows() for qrel in qrels)},
    )


def write_qas(path: Path, source: Source) -> int:
    """One row per query with all answers graded above 0; with grades if any is not 1."""
    answers = source.relevant()
    graded = any(grade != 1 for grades in answers.values() for grade in grades.values())

    def rows() -> Iterator[dict[str, Any]]:
        for place, query, others in source.queries():
            grades = answers.get(query.query_id, {})
            qid = line_number(query.query_id, place)
            values: dict[str, Any] = {"qid": qid, "query": query.text}
            values["answer_pids"] = [line_number(doc_id, place) for doc_id in grades]
            if graded:
                values["answer_scores"] = list(grades.values())
            yield values | without(others, values)

    return write_objects(path, rows())


def read_results(path: Path) -> Content:
    """UDAPDR's reranker results, grouped by query, the source document first."""

    def examples() -> Iterator[Row[Example]]:
        place, results = Place(path), whole_object(path)
        columns = [json_list(results.get(name), name, place) for name in ("qids", "pids", "logits", "labels")]
        if len({len(column) for column in columns}) > 1:
            raise place.error("qids, pids, logits and labels are of different lengths; expected lists that go together")
        by_query: dict[str, list[tuple[Any, Any, bool]]] = {}
        for qid, pid, logit, label in zip(*columns, strict=True):
            by_query.setdefault(identifier(qid, "qids", place), []).append((pid, logit, label != 1))
        for query_id, docs in by_query.items():
            docs.sort(key=lambda doc: doc[2])  # the source, labelled 1, first
            row = _example(place, query_id, [[pid, logit] for pid, logit, _ in docs])
            yield row._replace(record=row.record._replace(has_positive=not docs[0][2]))

    return Content(examples=examples)


def line_number(name: str, place: Place) -> int:
    """An id in ColBERT's form."""
    if not _LINE_NUMBER.fullmatch(name):
        raise place.error(
            f"the id {name!r} is not a whole number, and ColBERT reads ids as line numbers; "
            "write a whole collection with --to lotte, or training examples with --to colbert: these number them"
        )
    return int(name)


def _example(place: Place, qid: Any, pairs: list[list[Any]]) -> Row[Example]:
    """The training example in a list of [pid, score] pairs, or of [pid] alone."""
    widths = {len(pair) for pair in pairs}
    if widths not in ({1}, {2}):
        raise place.error("found documents with scores and documents without; expected [pid, score] for each")
    doc_ids = tuple(identifier(pair[0], "pid", place) for pair in pairs)
    scores = tuple(number(pair[1], "score", place) for pair in pairs) if widths == {2} else ()
    return Row(place, Example(identifier(qid, "qid", place), "", doc_ids, (), scores))
