"""Formats: what is written is read back exactly, and what cannot be read is refused with its place."""

from __future__ import annotations

import csv
import json
import math
import random
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
@given(scores=st.lists(finite, max_size=5), n=st.integers(1, 5), has_positive=st.booleans())
def test_training_examples_come_back_or_are_refused(
    tmp_path: Path, scores: list[float], n: int, has_positive: bool
) -> None:
    path, example = tmp_path / "n.jsonl", NWay("q", tuple(IDS[:n]), tuple(scores), has_positive)
    if len(scores) in (0, n):
        assert formats.write_nway(path, [example]) == 1
        assert list(formats.read_nway(path)) == [example]
    else:
        assert f"'scores': found {len(scores)} of them; expected one per document, {n}" in refusal(
            lambda: [formats.write_nway(path, [example])]
        )


def test_synthetic_queries_come_back(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    queries = [
        SyntheticQuery(str(n), f"x{text}x", IDS[n], -n / 3, log_probs=(-n / 7,) * n) for n, text in enumerate(NASTY)
    ]
    formats.write_synthetic(path, [*queries, SyntheticQuery("n", "no log-probs", "d", math.nan)])
    *read, last = formats.read_synthetic(path)
    assert read == queries
    assert last[:3] == ("n", "no log-probs", "d") and math.isnan(last.logprob)


def test_synthetic_queries_of_inpars_are_read(tmp_path: Path) -> None:
    v1 = {"doc_id": "d1", "doc_text": "D", "question": "\n what? ", "log_probs": [-1.0, -3.0]}
    v2 = {"doc_id": 2, "text": "D", "query": "who?", "log_probs": -0.5, "prompt_text": "...", "fewshot_examples": [1]}
    path = put(tmp_path / "s.jsonl", json.dumps(v1) + "\n" + json.dumps(v2))
    assert list(formats.read_synthetic(path)) == [
        SyntheticQuery(formats.synthetic_id("d1", "what?"), "what?", "d1", -2.0, log_probs=(-1.0, -3.0)),
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


@pytest.mark.parametrize("name", ["test.csv", "test.jsonl", "test.parquet"])
def test_judgments_are_read_by_name_whatever_carries_them(tmp_path: Path, name: str) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path, row = tmp_path / name, {"query-id": "q 1", "corpus-id": "007", "score": 2}
    if name == "test.parquet":
        parquet.write_table(pa.Table.from_pylist([row]), path)
    else:
        put(path, json.dumps(row) if name == "test.jsonl" else 'query-id,corpus-id,score\n"q 1",007,2\n')
    assert formats.read_qrels(path) == [Qrel("q 1", "007", 2)]


def test_a_ranking_of_colbert_is_a_run(tmp_path: Path) -> None:
    path = put(tmp_path / "ranking.tsv", "0\t7\t1\t3.5\n0\t9\t2\t1.25\n")
    assert list(formats.read_run(path)) == [ScoredDoc("0", "7", 3.5), ScoredDoc("0", "9", 1.25)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0\tlava erupts\n1\tsnow creeps downhill\n", [Doc("0", "lava erupts"), Doc("1", "snow creeps downhill")]),
        ("7\tlava\n8\tsnow creeps\n", [Doc("7", "lava"), Doc("8", "snow creeps")]),
        (
            "d1\tlava erupts\tVolcano\nd2\tsnow creeps\t\n",
            [Doc("d1", "lava erupts", "Volcano"), Doc("d2", "snow creeps")],
        ),
    ],
)
def test_a_tsv_whose_columns_have_no_names_is_read_as_its_rows_are(tmp_path: Path, content: str, expected: Any) -> None:
    path = put(tmp_path / "collection.tsv", content)
    assert list(formats.read_corpus(path)) == expected
    assert formats.read_queries(path) == [Query(doc.doc_id, doc.text) for doc in expected]


@pytest.mark.parametrize("header", ["ID\tDocument text", "docno\tbody of it", "number\tthe text", "nr\twords"])
def test_names_that_are_not_known_are_no_row(tmp_path: Path, header: str) -> None:
    path = put(tmp_path / "c.tsv", f"{header}\n1\tlava erupts\n2\tsnow creeps\n")
    assert refusal(lambda: formats.read_corpus(path)).startswith(f"{path}:1: no document ")


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
