"""No command writes over a file that it reads, by whatever name, and it says so before it does any work."""

from __future__ import annotations

import json

import pytest

from acclimate.cli.main import main

FILES = {
    "corpus.jsonl": json.dumps({"_id": "d", "text": "lava volcano"}),
    "queries.jsonl": json.dumps({"_id": "q", "text": "lava"}),
    "qrels.tsv": "query-id\tcorpus-id\tscore\nq\td\t1",
    "run.trec": "q Q0 d 1 2.0 me",
    "synthetic.jsonl": json.dumps({"query": "lava", "doc_id": "d", "text": "lava volcano", "log_probs": [-1.0]}),
}
COMMANDS = {
    "adapt corpus.jsonl --out run --batch {}": ("corpus.jsonl", "queries.jsonl", "qrels.tsv"),
    "convert run.trec {} --corpus corpus.jsonl": ("run.trec", "corpus.jsonl"),
    "evaluate-run qrels.tsv run.trec --per-query {}": ("qrels.tsv", "run.trec"),
    "inpars filter --input synthetic.jsonl --output {}": ("synthetic.jsonl",),
    "inpars generate_triples --input synthetic.jsonl --output {} --dataset corpus.jsonl": ("synthetic.jsonl",),
    "rerank run.trec model --corpus corpus.jsonl --queries queries.jsonl --out {}": ("run.trec", "queries.jsonl"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("link", ["", "soft", "hard"])
def test_a_file_that_is_read_is_not_replaced(command, link, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    for name in COMMANDS[command]:
        target = f"{link}-{name}" if link else name
        if link == "soft":
            (tmp_path / target).symlink_to(name)
        elif link == "hard":
            (tmp_path / target).hardlink_to(tmp_path / name)
        provided = ["--queries", "queries.jsonl", "--qrels", "qrels.tsv"] if "--batch" in command else []
        assert main([*command.format(target).split(), *provided]) == 2
        assert f"acclimate: {target}: would take the place of what is read" in capsys.readouterr().err
    assert {name: (tmp_path / name).read_text() for name in FILES} == FILES
