"""No command writes over a file that it reads, by whatever name, or where none can be; it says so before any work."""

from __future__ import annotations

import json
import os

import pytest

from acclimate.cli.main import main

FILES = {
    "corpus.jsonl": json.dumps({"_id": "d", "text": "lava volcano"}),
    "queries.jsonl": json.dumps({"_id": "q", "text": "lava"}),
    "qrels.tsv": "query-id\tcorpus-id\tscore\nq\td\t1",
    "run.trec": "q Q0 d 1 2.0 me",
    "beir/corpus.jsonl": json.dumps({"_id": "d", "text": "lava volcano"}),
    "beir/queries.jsonl": json.dumps({"_id": "q", "text": "lava"}),
    "beir/qrels/test.tsv": "query-id\tcorpus-id\tscore\nq\td\t1",
    "docs/a.md": "lava volcano",
    "synthetic.jsonl": json.dumps({"query": "lava", "doc_id": "d", "text": "lava volcano", "log_probs": [-1.0]}),
}
BEIR = ("beir/corpus.jsonl", "beir/queries.jsonl", "beir/qrels/test.tsv")
COMMANDS = {
    "adapt corpus.jsonl --out run --batch {}": ("corpus.jsonl", "queries.jsonl", "qrels.tsv"),
    "adapt docs --out run --batch {}": ("docs/a.md",),
    "convert run.trec {} --corpus corpus.jsonl": ("run.trec", "corpus.jsonl"),
    "convert run.trec {} --corpus beir": BEIR,
    "evaluate-run qrels.tsv run.trec --per-query {}": ("qrels.tsv", "run.trec"),
    "inpars evaluate --run run.trec --qrels qrels.tsv --json {}": ("qrels.tsv", "run.trec"),
    "inpars evaluate --run bm25 --dataset beir --json {}": BEIR,
    "inpars filter --input synthetic.jsonl --output {}": ("synthetic.jsonl",),
    "inpars generate --dataset docs --output {}": ("docs/a.md",),
    "inpars generate_triples --input synthetic.jsonl --output {} --dataset corpus.jsonl": (
        "synthetic.jsonl",
        "corpus.jsonl",
    ),
    "inpars rerank --dataset beir --model model --input_run bm25 --output_run {}": BEIR,
    "rerank run.trec model --corpus corpus.jsonl --queries queries.jsonl --out {}": (
        "run.trec",
        "queries.jsonl",
        "corpus.jsonl",
    ),
    "rerank run.trec model --corpus beir --out {}": BEIR,
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("link", ["", "soft", "hard"])
def test_a_file_that_is_read_is_not_replaced(command, link, files, tmp_path, capsys):
    for name in COMMANDS[command]:
        target = f"{link}-{name.replace('/', '-')}" if link else name
        if link == "soft":
            (tmp_path / target).symlink_to(name)
        elif link == "hard":
            (tmp_path / target).hardlink_to(tmp_path / name)
        provided = ["--queries", "queries.jsonl", "--qrels", "qrels.tsv"] if "--batch" in command else []
        assert main([*command.format(target).split(), *provided]) == 2
        assert f"acclimate: {target}: would take the place of what is read" in capsys.readouterr().err
    assert {name: (tmp_path / name).read_text() for name in FILES} == FILES


@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_where_no_file_can_be_is_refused(command, files, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.trec")
    for target, expected in (
        ("pipe.trec", "pipe.trec: is a directory, a pipe"),
        ("run.trec/x.trec", "there is a file"),
    ):
        provided = ["--queries", "queries.jsonl", "--qrels", "qrels.tsv"] if "--batch" in command else []
        assert main([*command.format(target).split(), *provided]) == 2
        assert expected in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_file_beside_the_collection_is_replaced(tmp_path, monkeypatch, capsys):
    """A run beside its collection can be written again; nothing can that is in a folder to convert."""
    monkeypatch.chdir(tmp_path)
    for name in ("beir/corpus.jsonl", "beir/queries.jsonl", "run.trec"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(FILES[name])
    for _ in range(2):
        assert main(["convert", "run.trec", "beir/again.trec", "--corpus", "beir"]) == 0
    assert main(["convert", "beir", "beir/queries.jsonl", "--to", "queries"]) == 2
    assert "acclimate: beir/queries.jsonl: would take the place of what is read" in capsys.readouterr().err
