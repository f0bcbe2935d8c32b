"""Formats of documents: what is written is read back exactly, and what cannot be read is refused with its place."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from published import put_parquet

from acclimate.base.errors import AcclimateError
from acclimate.corpus import formats
from acclimate.corpus.formats import tables
from acclimate.corpus.formats.rows import objects
from acclimate.records import Doc

IDS = ["001", "1e5", "a/b", "1", "01", "-0", "NaN", "null", "True", "1.0", " x ", "é", "#", "PLAIN-1"]
NASTY = [
    '"',
    '""',
    '"a" b',
    "a\tb",
    "a\nb",
    "a\r\nb",
    "\u2028x\u2029",
    "{x} {}",
    "\\n",
    ",;",
    "\x0b\x0c\x85",
    "日本",
    "😀",
]

characters = st.characters(exclude_categories=["Cs"])
texts = st.one_of(st.sampled_from(NASTY), st.text(characters), st.text('"\t\n\r, a{}\u2028'))
docs_lists = st.lists(st.tuples(texts, texts)).map(
    lambda pairs: [Doc(f"{n:03}", text, title) for n, (text, title) in enumerate(pairs)]
)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refusal(call: Callable[[], Any]) -> str:
    """The message of the error that a call must end in."""
    with pytest.raises(AcclimateError) as caught:
        result = call()
        list(result)
    return str(caught.value)


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_rows(path: Path, rows: list[list[str]], **dialect: Any) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, **dialect).writerows(rows)
    return path


@quick
@given(docs=docs_lists)
@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_docs_come_back_from_json_lines(tmp_path: Path, docs: list[Doc], name: str) -> None:
    path = tmp_path / name
    assert formats.write_corpus(path, docs) == len(docs)
    assert list(formats.read_corpus(path)) == docs


@quick
@given(docs=docs_lists)
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_docs_come_back_from_csv(tmp_path: Path, docs: list[Doc], quoting: Any) -> None:
    path = put_rows(tmp_path / "c.csv", [["doc_id", "text", "title"], *map(list, docs)], quoting=quoting)
    assert list(formats.read_corpus(path)) == docs


@quick
@given(docs=docs_lists)
def test_docs_come_back_from_tsv_that_quotes_its_header(tmp_path: Path, docs: list[Doc]) -> None:
    rows = [["doc_id", "text", "title"], *map(list, docs)]
    path = put_rows(tmp_path / "c.tsv", rows, delimiter="\t", quoting=csv.QUOTE_ALL)
    assert list(formats.read_corpus(path)) == docs


@quick
@given(docs=docs_lists)
def test_docs_come_back_from_tsv_quoted_where_needed_or_it_is_refused(tmp_path: Path, docs: list[Doc]) -> None:
    path = put_rows(tmp_path / "c.tsv", [["doc_id", "text", "title"], *map(list, docs)], delimiter="\t")
    try:
        assert list(formats.read_corpus(path)) == docs
    except AcclimateError as error:
        assert "with quoting as well as without" in str(error)


@quick
@given(docs=docs_lists)
def test_docs_come_back_from_raw_tsv_or_it_is_refused(tmp_path: Path, docs: list[Doc]) -> None:
    docs = [Doc(*(" ".join(value.replace("\r", " ").split("\n")).replace("\t", " ") for value in doc)) for doc in docs]
    assume(not any(tables._quotes(cell) == "needed" for doc in docs for cell in doc))  # a cell of csv in a raw file
    path = put(tmp_path / "c.tsv", "".join("\t".join(row) + "\n" for row in [["doc_id", "text", "title"], *docs]))
    try:
        assert list(formats.read_corpus(path)) == docs
    except AcclimateError as error:
        assert "with quoting as well as without" in str(error)


def test_a_leading_quote_in_a_raw_tsv_swallows_no_lines(tmp_path: Path) -> None:
    path = put(tmp_path / "c.tsv", 'id\ttext\n1\t"Hello\n2\tworld\n3\t"x" and y\n4\t"whole"\n')
    assert list(formats.read_corpus(path)) == [
        Doc("1", '"Hello'),
        Doc("2", "world"),
        Doc("3", '"x" and y'),
        Doc("4", '"whole"'),
    ]


def test_a_tsv_that_two_dialects_explain_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "c.tsv", 'id\ttext\n1\t"Hello\n2\tworld"\n')
    message = refusal(lambda: formats.read_corpus(path))
    assert message.startswith(f"{path}:2: ") and "quote" in message


def test_a_quoted_tsv_as_pandas_writes_it(tmp_path: Path) -> None:
    docs = [Doc("1", 'a "b" c'), Doc("2", "plain"), Doc("3", '"x"')]
    path = put_rows(tmp_path / "c.tsv", [["id", "text"], *[[d.doc_id, d.text] for d in docs]], delimiter="\t")
    assert list(formats.read_corpus(path)) == docs


def test_docs_come_back_from_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    docs = [Doc(doc_id, text, title) for doc_id, text, title in zip(IDS, NASTY, reversed(NASTY), strict=False)]
    path = tmp_path / "c.parquet"
    table = {"text": [d.text for d in docs], "other": range(len(docs)), "title": [d.title for d in docs]}
    parquet.write_table(pa.table({**table, "_id": pa.array([d.doc_id for d in docs]).dictionary_encode()}), path)
    assert list(formats.read_corpus(path)) == docs
    parquet.write_table(pa.table({"id": [7, 10**15], "text": ["a", "b"]}), path)
    assert list(formats.read_corpus(path)) == [Doc("7", "a"), Doc("1000000000000000", "b")]
    parquet.write_table(pa.table({"id": [7.0], "text": ["a"]}), path)
    assert (
        refusal(lambda: formats.read_corpus(path))
        == f'{path}: column "id" holds double; expected text or whole numbers'
    )
    parquet.write_table(pa.table({"id": ["7"], "txet": ["a"]}), path)
    message = refusal(lambda: formats.read_corpus(path))
    assert message.startswith(f"{path}: no document text: found") and 'The closest is "txet"' in message
    parquet.write_table(pa.table({"id": ["7"], "Question": ["a"], "answer": ["b"]}), path)
    assert refusal(lambda: formats.read_corpus(path)).endswith("rename 'question' to 'title' and 'answer' to 'text'")
    parquet.write_table(pa.table({"title": ["a"], "text": ["b"]}), path)
    assert refusal(lambda: formats.read_corpus(path)).endswith(
        "'document_id'. To number the documents, add a column 'id'"
    )
    parquet.write_table(pa.table({"id": ["7", "8"], "text": ["a", None]}), path)
    assert refusal(lambda: formats.read_corpus(path)) == f"{path}:2: 'text' is null; expected text"


@pytest.mark.parametrize("name", ["c.csv", "c.tsv", "c.parquet"])
@pytest.mark.parametrize(
    ("header", "others"),
    [
        (("ID", "Title", "Text", "Price"), ["Price"]),
        (("Doc_Id", "TITLE", "Contents", "id"), None),  # a column with an accepted name is the one
        (("id", "title", "text", "ID"), ["ID"]),
        (("Id", "Title", "Text", "ID"), None),
    ],
)
def test_the_case_of_a_column_does_not_matter_where_only_one_is_meant(tmp_path, name, header, others):
    cells, path = ["7", "Etna", "lava", "9"], tmp_path / name
    if name.endswith(".parquet"):
        put_parquet(path, [dict(zip(header, cells, strict=True))])
    else:
        put_rows(path, [[*header], cells], delimiter="\t" if name.endswith(".tsv") else ",")
    if header[0] == "Id":
        assert "no document id: found" in refusal(lambda: formats.read_corpus(path))
        return
    docs = formats.read_corpus(path)
    assert list(docs) == [Doc("9" if header[3] == "id" else "7", "lava", "Etna")]
    assert others is None or [*docs.others] == others


def test_a_cell_may_be_longer_than_the_csv_module_likes(tmp_path: Path) -> None:
    docs = [Doc("1", "long " * 100_000)]
    for name, delimiter in (("c.csv", ","), ("c.tsv", "\t")):
        csv.field_size_limit(131_072)
        path = put_rows(tmp_path / name, [["doc_id", "text"], *[list(doc[:2]) for doc in docs]], delimiter=delimiter)
        assert list(formats.read_corpus(path)) == docs


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    for name, content in (
        ("c.jsonl", '{"_id": "1", "text": "x"}'),
        ("c.csv", "_id,text\n1,x"),
        ("c.tsv", "_id\ttext\n1\tx"),
    ):
        assert list(formats.read_corpus(put(tmp_path / name, f"\ufeff{content}"))) == [Doc("1", "x")]


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        ("a1\twhy does lava erupt\na2\twhere does snow creep\n", ["a1", "a2"]),
        ("0\tlava\n1\tsnow\n", ["0", "1"]),
        ("id\ttext\na1\twhy does lava erupt\n", ["a1"]),
        ("id\tthe words of it\na1\twhy does lava erupt\n", None),  # a header without a name that is known
    ],
)
def test_a_header_is_told_from_a_row_also_in_what_is_packed(
    tmp_path: Path, content: str, ids: list[str] | None
) -> None:
    for path in (put(tmp_path / "x.tsv", content), put(tmp_path / "x.tsv.gz", gzip.compress(content.encode()))):
        for read, names in ((formats.read_corpus, "doc_id"), (formats.read_queries, "query_id")):
            if ids is None:
                assert "text" in refusal(lambda read=read, path=path: read(path))
            else:
                assert [getattr(row, names) for row in read(path)] == ids


def test_a_number_that_is_none_is_missing_in_rows_of_parquet(tmp_path):
    """pandas writes NaN where a table has no value; JSON has no such number."""
    pytest.importorskip("pyarrow")
    path = tmp_path / "rows.parquet"
    put_parquet(path, ({"_id": "a", "price": 0.0, "size": None}, {"_id": "b", "price": math.nan, "size": 1}))
    assert [row for _, row in objects(path)] == [
        {"_id": "a", "price": 0.0, "size": None},
        {"_id": "b", "price": None, "size": 1},
    ]
