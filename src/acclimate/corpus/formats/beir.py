"""BEIR's files: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, plain or gzipped.

corpus.jsonl   {"_id", "title" (may be empty, null or absent), "text"}; other keys are passed over
queries.jsonl  {"_id", "text"}
qrels          query-id⇥corpus-id⇥score with that header, in any order; grades are integers, 0 may be there; a tab or
               line end in an id is written as in JSON, `\\u0009` (see `trec`)

Qrels without a header are read only when they are clearly TREC's four columns. JSON Lines, CSV and Parquet, as on hubs,
are read by the same names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from acclimate.base.errors import DataError
from acclimate.base.files import read_lines, text_writer, write_jsonl
from acclimate.base.text import counted
from acclimate.corpus.formats import fields, trec
from acclimate.corpus.formats.fields import Field, Located, Place, identifier, read_field
from acclimate.corpus.formats.rows import is_dataset, is_parquet, json_rows, objects
from acclimate.records import Doc, Qrel, Query

QREL_QUERY = Field("query id", ("query-id", "query_id", "qid"))
QREL_DOC = Field("document id", ("corpus-id", "corpus_id", "doc_id", "docid"))
QREL_GRADE = Field("relevance grade", ("score", "relevance", "grade"))
SPLITS = ("test", "dev", "train")
_QRELS = re.compile(r"(?P<split>.+)\.(?:tsv|txt|trec|qrels|csv|jsonl|parquet)(?:\.gz)?", re.IGNORECASE)
_DEV = ("validation", "valid", "val")  # other names of the dev split
_BREAKS = r"\t\n\r"  # characters that would end a cell or line


def read_corpus(path: Path) -> Located[Doc]:
    """The docs of a corpus.jsonl in the order of its lines, streamed."""
    return Located(fields.docs(json_rows(path)))


def read_queries(path: Path) -> list[Query]:
    """The queries of a queries.jsonl in the order of its lines."""
    return fields.queries(json_rows(path), path)


def read_qrels(path: Path) -> list[Qrel]:
    """The judgments of a qrels file, BEIR's or TREC's, in the order of its lines; a repeated line counts once."""
    return [qrel for _, qrel in located_qrels(path)]


def located_qrels(path: Path) -> list[tuple[Place, Qrel]]:
    """`read_qrels`, each judgment with its place."""
    if is_dataset(path) or is_parquet(path):
        return trec.judged_once(_named_qrels(path), path)
    first = next((line for _, line in read_lines(path) if line.strip()), None)
    if first is None:
        raise DataError("an empty file; expected the header query-id⇥corpus-id⇥score and judgments", path=path)
    if _is_trec(first):
        return trec.judged_once(trec.qrel_rows(path), path)
    if len(words := first.split()) == 6 and words[1] == "Q0":  # compare and evaluate-run take both, in an order
        raise DataError("a TREC run; expected judgments: qid 0 docid grade, or a table of such columns", path=path)
    return trec.judged_once(_named_qrels(path) if _is_of_objects(first) else _rows_of_qrels(path), path)


def files_of_judgments(folder: Path, *, prefix: str = "") -> dict[str, Path]:
    """Split -> file of judgments: the files in qrels/ by name, or else qrels.tsv in the folder, which is `test`.

    prefix: before `qrels`. Raises DataError for two files of one split.
    """
    inside = sorted((folder / f"{prefix}qrels").glob("[!.]*"))
    beside = [] if inside else sorted(folder.glob(f"{prefix}qrels.*"))
    files: dict[str, Path] = {}
    for path, match in ((path, _QRELS.fullmatch(path.name)) for path in inside or beside):
        if match is None:
            continue
        split = "test" if beside else _split(match["split"])
        if split in files:
            raise DataError(
                f"found {files[split].name} and {path.name}, judgments of one split; keep one", path=path.parent
            )
        files[split] = path
    return files


def split_of(path: Path) -> str:
    """The split that a file is named after; `test` for any other name."""
    split = _split(path.name.split(".")[0])
    return split if split in SPLITS else "test"


def judgments_in(folder: Path) -> dict[str, list[tuple[Place, Qrel]]]:
    """The judgments of a folder by split. Raises DataError if it has none of `SPLITS`."""
    files = files_of_judgments(folder)
    if files and files.keys().isdisjoint(SPLITS):
        raise DataError(
            f"has judgments of {', '.join(files)}, which no run reads; expected those of {', '.join(SPLITS)}: rename "
            "the file, or name it with --qrels",
            path=folder,
        )
    return {split: located_qrels(file) for split, file in files.items()}


def write_corpus(path: Path, docs: Iterable[Doc]) -> int:
    """Write a corpus.jsonl (gzipped for .gz); returns the number of docs."""
    return write_jsonl(path, ({"_id": doc.doc_id, "title": doc.title, "text": doc.text} for doc in docs))


def write_queries(path: Path, queries: Iterable[Query]) -> int:
    """Write a queries.jsonl; returns the number of queries."""
    return write_jsonl(path, ({"_id": query.query_id, "text": query.text} for query in queries))


def write_qrels(path: Path, qrels: Iterable[Qrel]) -> int:
    """Write a qrels TSV with BEIR's header; returns the number of judgments."""
    count = 0
    with text_writer(path) as lines:
        lines.write("query-id\tcorpus-id\tscore\n")
        for qrel in qrels:
            cells = (trec.escaped(name, _BREAKS) for name in (qrel.query_id, qrel.doc_id))
            lines.write("\t".join((*cells, str(qrel.relevance))) + "\n")
            count += 1
    return count


def _split(name: str) -> str:
    """The split of that name, of which the file may be the shard: validation-00000-of-00001 is dev."""
    name = re.sub("-[0-9]{5}-of-[0-9]{5}$", "", name)
    return "dev" if name in _DEV else name


def _is_of_objects(first: str) -> bool:
    """True if a first line is a JSON object or a CSV header."""
    return first.lstrip()[:1] == "{" or ("," in first and not first.split()[1:])


def _named_qrels(path: Path) -> Iterator[tuple[Place, Qrel]]:
    """Judgments as objects, as in data sets on hubs."""
    for place, values in objects(path):
        query_id, doc_id = (read_field(values, field, identifier, place) for field in (QREL_QUERY, QREL_DOC))
        yield place, Qrel(query_id, doc_id, read_field(values, QREL_GRADE, trec.grade, place))


def _is_trec(first: str) -> bool:
    """Four columns, the second a number (or Q0), the last a grade: no header reads like that."""
    columns = first.split()
    return len(columns) == 4 and bool(re.fullmatch(r"Q?\d+", columns[1])) and bool(trec.GRADE.fullmatch(columns[3]))


def _rows_of_qrels(path: Path) -> Iterator[tuple[Place, Qrel]]:
    header: list[str] = []
    columns: list[int] = []
    for number, line in read_lines(path):
        place, cells = Place(path, number), line.split("\t")
        if not line.strip():
            continue
        if not header:
            header = cells
            if trec.GRADE.fullmatch(cells[-1].strip()):
                raise place.error(
                    f"no header: found {fields.as_json(line)}; expected query-id⇥corpus-id⇥score above it"
                )
            columns = [header.index(fields.pick(header, field, place)) for field in (QREL_QUERY, QREL_DOC, QREL_GRADE)]
            continue
        if len(cells) != len(header):
            raise place.error(
                f"found {counted(len(cells), 'column')}; expected {len(header)} between tabs, as in the header"
            )
        query_id, doc_id, grade = (cells[column] for column in columns)
        yield (
            place,
            Qrel(
                identifier(trec.unescaped(query_id), header[columns[0]], place),
                identifier(trec.unescaped(doc_id), header[columns[1]], place),
                trec.grade(grade, header[columns[2]], place),
            ),
        )
