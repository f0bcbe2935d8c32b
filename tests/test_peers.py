"""Libraries of others read what acclimate convert writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import acclimate

DOCS = {"1": "lava erupts", "2": 'snow "creeps"', "3": "deep sea"}


@pytest.fixture
def convert(tmp_path: Path) -> Any:
    """Training examples of two queries, with or without scores, in a format."""

    def put(name: str, rows: list[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    corpus = put("corpus.jsonl", [{"_id": doc_id, "title": "", "text": text} for doc_id, text in DOCS.items()])
    queries = put("queries.jsonl", [{"_id": "q", "text": "why lava"}, {"_id": "p", "text": "where is snow"}])

    def converted(name: str, *, scored: bool = True, file: str = "out.jsonl") -> Path:
        rows: list[dict[str, Any]] = [
            {"query_id": "q", "doc_ids": ["1", "2", "3"]},
            {"query_id": "p", "doc_ids": ["2", "3", "1"]},
        ]
        rows = [{**row, "scores": [2.5, 1, -1]} if scored else row for row in rows]
        examples = put("nway.jsonl", rows)
        acclimate.convert(examples, tmp_path / file, target_format=name, corpus=corpus, queries=queries)
        return tmp_path / file

    return converted


@pytest.mark.parametrize("file", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("columns", "MultipleNegativesRankingLoss"),
        ("columns-scores", "MarginMSELoss"),
        ("columns-scores", "DistillKLDivLoss"),
    ],
)
def test_sentence_transformers_trains_dense_encoders_from_columns(
    convert: Any, tiny_encoder: Path, tmp_path: Path, name: str, loss: str, file: str
) -> None:
    datasets = pytest.importorskip("datasets")
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer import losses

    path = convert(name, scored=name != "columns", file=file)
    kind = "parquet" if file.endswith(".parquet") else "json"
    rows = datasets.load_dataset(kind, data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]
    texts = [column for column in rows.column_names if column != "label"]
    assert [rows[0][column] for column in texts] == ["why lava", "lava erupts", 'snow "creeps"', "deep sea"]
    model = SentenceTransformer(str(tiny_encoder), device="cpu")
    arguments = SentenceTransformerTrainingArguments(
        str(tmp_path / "trained"), max_steps=1, per_device_train_batch_size=2, report_to=[], use_cpu=True
    )
    trainer = SentenceTransformerTrainer(model, arguments, rows, loss=getattr(losses, loss)(model))
    assert trainer.train().training_loss > 0


def test_ir_measures_reads_runs_and_judgments(tmp_path: Path) -> None:
    ir_measures = pytest.importorskip("ir_measures")
    (tmp_path / "ranking.tsv").write_text("q\t1\t1\t2.5\nq\t2\t2\t1.5\n")
    (tmp_path / "qrels.csv").write_text("corpus-id,query-id,score\n2,q,1\n")
    acclimate.convert(tmp_path / "ranking.tsv", tmp_path / "run.trec")
    acclimate.convert(tmp_path / "qrels.csv", tmp_path / "qrels.trec")
    run = list(ir_measures.read_trec_run(str(tmp_path / "run.trec")))
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "qrels.trec")))
    assert ir_measures.calc_aggregate([ir_measures.RR], qrels, run) == {ir_measures.RR: 0.5}


def test_pandas_reads_triples_as_quoted(convert: Any) -> None:
    pandas = pytest.importorskip("pandas")
    rows = pandas.read_csv(convert("triples", scored=False), sep="\t", header=None)
    assert rows.to_numpy().tolist()[:2] == [
        ["why lava", "lava erupts", 'snow "creeps"'],
        ["why lava", "lava erupts", "deep sea"],
    ]
