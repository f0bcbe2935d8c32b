"""Formats of queries, judgments, runs and examples: what is written is read back exactly."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_formats import IDS, NASTY, put, put_rows, quick, refusal, texts

from acclimate.corpus import formats
from acclimate.corpus.formats import beir, trec
from acclimate.records import Doc, NWay, Qrel, Query, ScoredDoc, SyntheticQuery


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
@given(scores=st.lists(st.floats(-1e15, 1e15), max_size=5), n=st.integers(1, 5), has_positive=st.booleans())
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
