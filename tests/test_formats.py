"""Formats: what is written is read back exactly, and what cannot be read is refused with its place."""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from acclimate.base.errors import AcclimateError
from acclimate.corpus import formats
from acclimate.corpus.formats import beir, tables, trec
from acclimate.corpus.formats.folder import read_folder
from acclimate.records import Doc, NWay, Qrel, Query, ScoredDoc, SyntheticQuery

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


# Round trips


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
    parquet.write_table(pa.table({"id": ["7", "8"], "text": ["a", None]}), path)
    assert refusal(lambda: formats.read_corpus(path)) == f"{path}:2: 'text' is null; expected text"


@quick
@given(queries=st.lists(texts.filter(str.strip)).map(lambda found: [Query(str(n), t) for n, t in enumerate(found)]))
def test_queries_come_back(tmp_path: Path, queries: list[Query]) -> None:
    path = tmp_path / "queries.jsonl"
    formats.write_queries(path, queries)
    if queries:
        assert formats.read_queries(path) == queries
    else:
        assert "no queries" in refusal(lambda: formats.read_queries(path))


ODD_IDS = [
    "My notes.txt",
    "日本 語.md",
    "a\tb",
    "a\nb",
    "a\r\n",
    "\u2028",
    "\x00",
    "a\\u0020b",
    " ",
    "\ufeffx",
    "a%20b",
]


@pytest.mark.parametrize("module", [beir, trec])
def test_qrels_come_back_with_every_id_byte_for_byte(tmp_path: Path, module: Any) -> None:
    ids = [*IDS, *ODD_IDS]
    qrels = [Qrel(query, doc, grade) for query in ids for doc, grade in zip(ids, range(-1, 99), strict=False)]
    path = tmp_path / "test.tsv"
    assert module.write_qrels(path, qrels) == len(qrels)
    assert module.read_qrels(path) == qrels
    assert formats.read_qrels(path) == qrels  # either format


@pytest.mark.parametrize("name", ["c.jsonl", "c.csv", "c.tsv", "c.parquet"])
def test_ids_survive_byte_for_byte(tmp_path: Path, name: str) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path, docs = tmp_path / name, [Doc(doc_id, "text") for doc_id in IDS]
    if name == "c.jsonl":
        formats.write_corpus(path, docs)
    elif name == "c.parquet":
        parquet.write_table(pa.table({"doc_id": IDS, "text": ["text"] * len(IDS)}), path)
    else:
        put_rows(path, [["doc_id", "text"], *[[d, "text"] for d in IDS]], delimiter="," if name == "c.csv" else "\t")
    assert list(formats.read_corpus(path)) == docs


finite = st.floats(allow_nan=False, allow_infinity=False)


single = st.floats(allow_nan=False, allow_infinity=False, width=32, min_value=-(2.0**120), max_value=2.0**120)


@quick
@given(scores=st.dictionaries(st.sampled_from(IDS[:10]), single, min_size=1), tag=st.sampled_from(["x", "ü"]))
def test_runs_come_back_best_first_with_exact_scores(tmp_path: Path, scores: dict[str, float], tag: str) -> None:
    path = tmp_path / "run.trec"
    scores = {doc: score for doc, score in scores.items() if list(scores.values()).count(score) == 1}
    run = [ScoredDoc(query, doc, score) for query in ("q2", "q1") for doc, score in scores.items()]
    assert formats.write_run(path, run, tag=tag) == len(run)
    best_first = [
        ScoredDoc(q, d, s) for q in ("q2", "q1") for d, s in sorted(scores.items(), key=lambda i: (-i[1], i[0]))
    ]
    assert list(formats.read_run(path)) == best_first
    ranks = [line.split("\t")[3] for line in path.read_text(encoding="utf-8").splitlines()]
    assert ranks == [str(rank) for rank in range(1, len(scores) + 1)] * 2


near = st.builds(
    lambda base, gain: base + gain,
    st.sampled_from([0.0, -1.0, 1e-40, 20.0, 1e308]),
    st.sampled_from([0, 1e-12, 1e-7, 5.0]),
)


@quick
@given(scores=st.lists(near | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_any_evaluator_sees_the_order_that_was_measured(tmp_path: Path, scores: list[float]) -> None:
    """Scores that are equal, also in single precision only: trec_eval would put the last id first."""
    path = tmp_path / "run.trec"
    run = [ScoredDoc("q", f"d{number:02}", score) for number, score in enumerate(scores)]
    formats.write_run(path, run)
    written = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    single = {cells[2]: float(np.float32(float(cells[4]))) for cells in written}
    assert len(set(single.values())) == len(run) and all(map(math.isfinite, single.values()))
    expected = [hit.doc_id for hit in sorted(run, key=lambda hit: (-hit.score, hit.doc_id))]
    assert sorted(single, key=lambda doc: single[doc], reverse=True) == expected
    assert [hit.doc_id for hit in sorted(formats.read_run(path), key=lambda hit: -hit.score)] == expected


@quick
@given(
    ids=st.lists(
        texts.filter(bool) | st.from_regex(r"(\\|u|[0-9a-f]|%20| |\t){1,12}", fullmatch=True), unique=True, min_size=1
    )
)
def test_any_id_comes_back_from_a_run_and_from_judgments(tmp_path: Path, ids: list[str]) -> None:
    path = tmp_path / "file"
    run = [ScoredDoc(query, doc, -float(at)) for query in ids for at, doc in enumerate(ids)]
    formats.write_run(path, run)
    assert list(formats.read_run(path)) == run
    assert all(len(line.split()) == 6 for line in path.read_text(encoding="utf-8").split("\n")[:-1])
    qrels = [Qrel(query, doc, 1) for query in ids for doc in ids]
    for module in (beir, trec):
        module.write_qrels(path, qrels)
        assert formats.read_qrels(path) == qrels


@pytest.mark.parametrize("name", ["plain", "a%20b", "50%", "C:\\notes\\x.txt", "\\u00e9", "日本語", "é"])
def test_ids_without_white_space_stand_as_they_are(tmp_path: Path, name: str) -> None:
    """So that other tools find them in judgments that acclimate did not write; what looks like an escape is none."""
    formats.write_run(tmp_path / "run.trec", [ScoredDoc("q", name, 1.0)])
    if name != "\\u00e9":
        assert (tmp_path / "run.trec").read_text(encoding="utf-8").split("\t")[2] == name
    put(tmp_path / "foreign.trec", f"q Q0 {name} 1 1.0 t\n")
    for path in ("run.trec", "foreign.trec"):
        assert [hit.doc_id for hit in formats.read_run(tmp_path / path)] == [name]


@quick
@given(scores=st.lists(finite, max_size=5), n=st.integers(1, 5))
def test_training_examples_come_back_or_are_refused(tmp_path: Path, scores: list[float], n: int) -> None:
    path, example = tmp_path / "n.jsonl", NWay("q", tuple(IDS[:n]), tuple(scores))
    if len(scores) in (0, n):
        assert formats.write_nway(path, [example]) == 1
        assert list(formats.read_nway(path)) == [example]
    else:
        assert f"'scores': found {len(scores)} of them; expected one per document, {n}" in refusal(
            lambda: [formats.write_nway(path, [example])]
        )


def test_synthetic_queries_come_back(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    queries = [SyntheticQuery(str(n), f"x{text}x", IDS[n], -n / 3) for n, text in enumerate(NASTY)]
    formats.write_synthetic(path, [*queries, SyntheticQuery("n", "no log-probs", "d", math.nan)])
    *read, last = formats.read_synthetic(path)
    assert read == queries
    assert last[:3] == ("n", "no log-probs", "d") and math.isnan(last.logprob)


def test_synthetic_queries_of_inpars_are_read(tmp_path: Path) -> None:
    v1 = {"doc_id": "d1", "doc_text": "D", "question": "\n what? ", "log_probs": [-1.0, -3.0]}
    v2 = {"doc_id": 2, "text": "D", "query": "who?", "log_probs": -0.5, "prompt_text": "...", "fewshot_examples": [1]}
    path = put(tmp_path / "s.jsonl", json.dumps(v1) + "\n" + json.dumps(v2))
    assert list(formats.read_synthetic(path)) == [
        SyntheticQuery(formats.synthetic_id("d1", "what?"), "what?", "d1", -2.0),
        SyntheticQuery(formats.synthetic_id("2", "who?"), "who?", "2", -0.5),
    ]


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


# Names, not positions


def test_the_order_of_keys_and_columns_changes_nothing(tmp_path: Path) -> None:
    row = {"_id": "1", "title": "T", "text": "X", "metadata": {"_id": "no"}, "url": "u"}
    for seed in range(10):
        keys = random.Random(seed).sample(list(row), len(row))
        path = put(tmp_path / "c.jsonl", json.dumps({key: row[key] for key in keys}))
        assert list(formats.read_corpus(path)) == [Doc("1", "X", "T")]
        path = put_rows(tmp_path / "c.csv", [keys, [str(row[key]) for key in keys]])
        assert list(formats.read_corpus(path)) == [Doc("1", "X", "T")]
    path = put(tmp_path / "q.tsv", "score\tcorpus-id\tquery-id\n0\td\tq\n")
    assert formats.read_qrels(path) == [Qrel("q", "d", 0)]


@pytest.mark.parametrize("name", ["_id", "doc_id", "docid", "docno", "id"])
def test_a_few_other_names_of_the_id_are_known(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / "c.jsonl", json.dumps({name: 17, "contents": "x", "title": None}))
    assert list(formats.read_corpus(path)) == [Doc("17", "x")]


def test_two_names_for_one_field_are_refused_unless_one_is_ours(tmp_path: Path) -> None:
    path = put(tmp_path / "c.jsonl", '{"id": "1", "docno": "2", "text": "x"}')
    assert refusal(lambda: formats.read_corpus(path)).startswith(f"{path}:1: 'docno' and 'id' could both be")
    put(path, '{"id": "1", "_id": "2", "text": "x"}')
    assert list(formats.read_corpus(path)) == [Doc("2", "x")]


# Bad input: the place, what was found, what to do


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('{"_id": "2", "text": ', "not JSON"),
        ("[1]", "found a list; expected a JSON object"),
        ('{"text": "x"}', "no document id: found \"text\"; expected '_id'"),
        ('{"_id ": "2", "text": "x"}', "Remove the blanks around '_id '"),
        ('{"_id": "2", "txet": "x"}', 'The closest is "txet"'),
        ('{"_id": "2", "Text": "x"}', 'The closest is "Text"'),
        ('{"_id": "2"}', "no document text"),
        ('{"_id": "", "text": "x"}', "'_id' is \"\""),
        ('{"_id": null, "text": "x"}', "'_id' is null"),
        ('{"_id": 2.0, "text": "x"}', "'_id' is 2.0"),
        ('{"_id": true, "text": "x"}', "'_id' is true"),
        ('{"_id": ["2"], "text": "x"}', "'_id' is [\"2\"]"),
        ('{"_id": "2", "text": null}', "'text' is null; expected text"),
        ('{"_id": "2", "text": 5}', "'text' is 5; expected text"),
        ('{"_id": "2", "text": "x", "title": 5}', "'title' is 5; expected text"),
        ('{"_id": "2", "text": "\\ud800"}', "'text' has half a surrogate pair"),
        ('{"_id": ' + "1" * 5000 + ', "text": "x"}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b'{"_id": "2", "text": "caf\xe9"}', "0xe9, which is not UTF-8"),
    ],
)
def test_a_bad_line_of_a_corpus_is_refused_with_its_place(tmp_path: Path, line: str | bytes, field: str) -> None:
    path = tmp_path / "corpus.jsonl"
    put(path, b'{"_id": "1", "text": "x"}\n' + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    message = refusal(lambda: formats.read_corpus(path))
    assert message.startswith(f"{path}:2: ") and field in message and len(message) < 500


@pytest.mark.parametrize(
    ("content", "line", "field"),
    [
        ("", 0, "no queries"),
        ('{"_id": "1", "text": "a"}\n{"_id": "1", "text": "b"}', 2, "'_id' \"1\" is there twice, first in line 1"),
        ('{"_id": "1", "text": " "}', 1, "'text' of query \"1\" is empty"),
        ('{"_id": "1"}', 1, "no query text"),
        ('{"corpus": "1"}', 1, "no query id"),
    ],
)
def test_bad_queries_are_refused(tmp_path: Path, content: str, line: int, field: str) -> None:
    path = put(tmp_path / "queries.jsonl", content)
    message = refusal(lambda: formats.read_queries(path))
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ") and field.replace('"', "'") in message


@pytest.mark.parametrize(
    ("content", "line", "field"),
    [
        ("", 0, "an empty file; expected the header"),
        ("query-id\tcorpus-id\tscore\n", 0, "no judgments"),
        ("1\t2\t1\n", 1, "no header"),
        ("query-id\tcorpus-id \tscore\n1\t2\t1\n", 1, "Remove the blanks around 'corpus-id '"),
        ("query-id\tcorpusid\tscore\n1\t2\t1\n", 1, 'The closest is "corpusid"'),
        ("query-id corpus-id score\n1 2 1\n", 1, "no query id"),
        ("query-id\tcorpus-id\tscore\n1\t2\n", 2, "found 2 columns; expected 3"),
        ("query-id\tcorpus-id\tscore\n1\t2\t1.5\n", 2, "'score' is \"1.5\"; expected an integer grade"),
        ("query-id\tcorpus-id\tscore\n1\t\t1\n", 2, "'corpus-id' is \"\""),
        ("query-id\tcorpus-id\tscore\n1\t2\t1\n1\t2\t1\n1\t2\t0\n", 4, "graded 0 here and 1 in line 2"),
        ("1 0 2 1\n1 0 3 x\n", 2, "'grade' is \"x\""),
        ("1 0 2 1\n1 0 3\n", 2, "found 3 columns"),
    ],
)
def test_bad_qrels_are_refused(tmp_path: Path, content: str, line: int, field: str) -> None:
    path = put(tmp_path / "test.tsv", content)
    message = refusal(lambda: formats.read_qrels(path))
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ") and field in message


@pytest.mark.parametrize(
    ("name", "content", "line", "field"),
    [
        ("c.csv", "", 0, "an empty file"),
        ("c.csv", "doc_id,txt\n1,x\n", 2, 'no document text: found "doc_id", "txt"'),
        ("c.csv", "doc_id;text\n1;x\n", 2, "It looks as if ';' separated the columns"),
        ("c.csv", "\ufeffdoc_id\ttext\n1\tx\n", 2, "It looks as if '\\t' separated the columns"),
        ("c.csv", "doc_id,text,text\n1,x,y\n", 1, '2 columns are named "text"'),
        ("c.csv", 'doc_id,text\n1,"a\nb"\n2\n', 4, "found 1 cells; expected 2"),
        ("c.csv", 'doc_id,text\n1,a\n2,"b\nc\n', 3, "not CSV"),
        ("c.csv", 'doc_id,text\n,"b"\n', 2, "'doc_id' is \"\""),
        ("c.csv", b"doc_id,text\n1,caf\xe9\n", 2, "not UTF-8"),
        ("c.tsv", "doc_id\ttext\n1\ta\tb\n", 2, "found 3 cells; expected 2"),
        ("c.parquet", "nonsense", 0, "not a Parquet file"),
        ("c.jsonl.gz", b"\x1f\x8b\x08\x00 nonsense", 1, "a broken gzip file"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, name: str, content: str | bytes, line: int, field: str) -> None:
    path = put(tmp_path / name, content)
    message = refusal(lambda: formats.read_corpus(path))
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ") and field in message


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("q Q0 d 1 2.5\n", "found 5 columns"),
        ("q Q0 d 1 high tag\n", "'score' is \"high\""),
        ("q Q0 d 1 nan tag\n", "'score' is \"nan\""),
        ("q Q0 d 1 1_0 tag\n", "'score' is \"1_0\""),
        ("q Q0 d 1 \u0663 tag\n", "'score' is \"\\u0663\""),
        ("q Q0 e 1 2 t\n\nq Q0 e 2 1 t\n", "doc 'e' comes twice"),
        ("q Q0 d 1 2 t\nr Q0 d 1 2 t\nq Q0 e 2 1 t\n", "query 'q' comes again"),
    ],
)
def test_bad_runs_are_refused(tmp_path: Path, content: str, field: str) -> None:
    path = put(tmp_path / "run.trec", content)
    message = refusal(lambda: formats.read_run(path))
    assert message.startswith(f"{path}:{content.count(chr(10))}: ") and field in message


@pytest.mark.parametrize(
    "run",
    [
        [ScoredDoc("q", "", 1.0)],
        [ScoredDoc("", "a", 1.0)],
        [ScoredDoc("q", "a", math.inf)],
        [ScoredDoc("q", "a", 1.0), ScoredDoc("q", "a", 2.0)],
        [ScoredDoc("q", "a", 1.0), ScoredDoc("r", "a", 2.0), ScoredDoc("q", "b", 2.0)],
    ],
)
def test_a_run_that_trec_cannot_hold_is_not_written(tmp_path: Path, run: list[ScoredDoc]) -> None:
    message = refusal(lambda: [formats.write_run(tmp_path / "run.trec", run)])
    assert repr(run[0].doc_id) in message or repr(run[0].query_id) in message or "is empty" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"doc_ids": ["a"]}, "no query id"),
        ({"query_id": "q"}, "no list of document ids"),
        ({"query_id": "q", "doc_ids": []}, "'doc_ids' is []"),
        ({"query_id": "q", "doc_ids": "ab"}, "'doc_ids' is \"ab\""),
        ({"query_id": "q", "doc_ids": ["a", None]}, "'doc_ids' is null"),
        ({"query_id": "q", "doc_ids": ["a", "b", "a"]}, "'doc_ids' has 'a' twice"),
        ({"query_id": "q", "doc_ids": ["a", "b"], "scores": [1]}, "'scores': found 1 of them"),
        ({"query_id": "q", "doc_ids": ["a", "b"], "scores": [1, None]}, "'scores' is null; expected a number"),
        ({"query_id": "q", "doc_ids": ["a", "b"], "scores": [1, math.nan]}, "'scores' is NaN; expected a number"),
        ({"query_id": "q", "doc_ids": ["a", "b"], "scores": 1}, "'scores': found 1; expected one per document"),
    ],
)
def test_bad_training_examples_are_refused(tmp_path: Path, row: dict[str, Any], field: str) -> None:
    path = put(tmp_path / "n.jsonl", json.dumps({"query_id": "q", "doc_ids": ["a"]}) + "\n" + json.dumps(row))
    message = refusal(lambda: formats.read_nway(path))
    assert message.startswith(f"{path}:2: ") and field in message


READERS = [formats.read_corpus, formats.read_queries, formats.read_qrels, formats.read_run, formats.read_nway]


@pytest.mark.parametrize("read", [*READERS, formats.read_synthetic, tables.read_corpus, trec.read_qrels])
@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.tsv", "x.parquet"])
def test_a_missing_file_and_a_folder_in_its_place_are_refused(tmp_path: Path, read: Any, name: str) -> None:
    path = tmp_path / name
    assert refusal(lambda: read(path)) == f"{path}: no such file"
    path.mkdir()
    assert refusal(lambda: read(path)) == f"{path}: is a directory; expected a file"


def test_a_file_is_checked_where_it_is_named_not_where_it_is_read_first(tmp_path: Path) -> None:
    with pytest.raises(AcclimateError):
        formats.read_corpus(put(tmp_path / "c.jsonl", "{}"))


def test_half_a_gzip_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b'{"_id": "%d", "text": "%d"}\n' % (n, n * n) for n in range(2000)))
    path = put(tmp_path / "c.jsonl.gz", whole[: len(whole) // 2])
    assert "a broken gzip file" in refusal(lambda: formats.read_corpus(path))


# Folders


def test_a_folder_gives_one_doc_per_file(tmp_path: Path) -> None:
    for name in ("b/x.txt", "a/x.txt", ".git/x.txt", "a/.x.txt", "a/empty.txt", "photo.JPG", "Z.TXT"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        put(tmp_path / name, "" if "empty" in name else f"text of {name}\n")
    docs = formats.read_folder(tmp_path)
    assert list(docs) == [Doc(name, f"text of {name}\n") for name in ("Z.TXT", "a/x.txt", "b/x.txt")]
    assert +docs.dropped == {"empty file": 1, ".jpg file type": 1}


def test_links_that_leave_the_folder_are_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    put(inside / "a.txt", "a")
    put(outside / "b.txt", "b")
    (inside / "b.txt").symlink_to(outside / "b.txt")
    (inside / "c.txt").symlink_to("a.txt")
    (inside / "loop").symlink_to(inside)
    (inside / "out").symlink_to(outside)
    (inside / "self.txt").symlink_to("self.txt")
    (inside / "gone.txt").symlink_to("none.txt")
    os.mkfifo(inside / "pipe.txt")
    docs = formats.read_folder(inside)
    assert [doc.doc_id for doc in docs] == ["a.txt", "c.txt"]
    assert +docs.dropped == {
        "link out of the folder": 1,
        "link to a folder": 2,
        "link to nothing": 2,
        "pipe, socket or device": 1,
    }


@pytest.mark.parametrize(
    ("content", "title", "text"),
    [
        ("# A *b* #\n\nc\n", "A *b*", "c\n"),
        ("\n## A\nb", "A", "b"),
        ("A\n===\n\nb\n", "A", "b\n"),
        ("intro\n\n# A\nb", "A", "intro\n\n# A\nb"),
        ("```\n# no\n```\n# A\n", "A", "```\n# no\n```\n# A\n"),
        ("---\n# no: 1\n---\n# A\nb", "A", "---\n# no: 1\n---\n# A\nb"),
        ("#no\n#\n", "", "#no\n#\n"),
        ("{x} # y\u2028# z", "", "{x} # y\u2028# z"),
    ],
)
def test_the_title_of_markdown_is_its_first_heading(tmp_path: Path, content: str, title: str, text: str) -> None:
    put(tmp_path / "a.md", content)
    assert list(formats.read_folder(tmp_path)) == [Doc("a.md", text, title)]


@pytest.mark.parametrize(
    ("content", "title", "text"),
    [
        ("<title>A\n &amp; B</title><p>c<b>d</b>e<p>f<br>g", "A & B", "cde\nf\ng"),
        ("<script>x<y</script><style>b{}</style><h1>A</h1>b  c &lt;d&gt;", "", "A\nb c <d>"),
        ("<svg><title>no</title></svg><title>A</title>b<svg/>c<noscript>d</noscript>", "A", "bc"),
        ("a</script></title>b<table><tr><td>1</td><td>2</td></table>", "", "ab\n1\n2"),
        ("<p>unclosed <a href='x'>b", "", "unclosed b"),
    ],
)
def test_html_is_read_as_its_reader_sees_it(tmp_path: Path, content: str, title: str, text: str) -> None:
    put(tmp_path / "a.html", content)
    assert list(formats.read_folder(tmp_path)) == [Doc("a.html", text, title)]


@pytest.mark.parametrize(
    "piece",
    ["<div>", "<p>x", "<a ", "<![x!", "<!--", "<b><i></p>", "&", "&lt;", "<", "<table><tr><td>", "<svg>", "<title>"],
)
def test_html_takes_time_by_its_length(tmp_path: Path, piece: str) -> None:
    put(tmp_path / "a.html", f"<p>first</p>{piece * (200_000 // len(piece))}")
    started = time.process_time()
    (doc,) = formats.read_folder(tmp_path)
    assert doc.text.startswith("first")
    assert time.process_time() - started < 5


html_pieces = st.lists(
    st.sampled_from("<![ <! <? < > ]]> --> <!-- / a </script> <script> <title = ' \" & &#x110000; &#xd800;".split())
)


@quick
@given(pieces=html_pieces)
def test_any_html_can_be_read(tmp_path: Path, pieces: list[str]) -> None:
    (tmp_path / "a.html").write_text(f"<p>x</p>{''.join(pieces)}")
    assert [doc.text[0] for doc in formats.read_folder(tmp_path)] == ["x"]


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    def message() -> str:
        return refusal(lambda: formats.read_folder(tmp_path))

    assert (
        message()
        == f"{tmp_path}: no documents in this folder; expected a corpus.jsonl, or files that end in .txt, .md or .html"
    )
    bad = put(tmp_path / "b.pdf", "x")
    assert "(passed over: .pdf file type: 1)" in message()
    bad = put(tmp_path / "b.txt", "")
    assert "empty file: 1" in message()
    put(bad, b"a\nb\xe9")
    assert message() == f"{bad}:2: byte 1 of the line is 0xe9, which is not UTF-8; save the file as UTF-8"
    put(bad, "utf-16".encode("utf-16-le"))
    assert message().startswith(f"{bad}:1: has a zero byte")
    assert "expected a folder" in refusal(lambda: formats.read_folder(bad))
    assert "no such folder" in refusal(lambda: formats.read_folder(tmp_path / "c"))


def test_a_file_whose_name_is_not_utf8_is_named(tmp_path: Path) -> None:
    try:
        put(tmp_path / os.fsdecode(b"caf\xe9.txt"), "coffee")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert "'caf\\udce9.txt' is no name in UTF-8; rename the file" in refusal(lambda: list(read_folder(tmp_path)))
