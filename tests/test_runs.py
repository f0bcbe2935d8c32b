"""A finished run is read from its folder alone: from anywhere, whatever became of its source, making nothing."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from chain import FAST, report_of, write_corpus, write_labels

import acclimate.stages.runs
from acclimate.base.testing import DOCS
from acclimate.cli.main import main
from acclimate.corpus import collections
from acclimate.records import Doc
from acclimate.run import manifests, workspace
from acclimate.stages.runs import open_run

pytestmark = pytest.mark.usefixtures("fake_llm")

NEW = Doc("new", "Zeppelins are rigid airships that were filled with hydrogen.", "Airships")
CHANGES = {  # what becomes of the source of a finished run
    "gone": None,
    "a document before the others": [NEW, *DOCS],
    "another order": DOCS[::-1],
    "fewer documents": DOCS[:3],
    "other texts": [doc._replace(text=f"invoice number {at}", title="") for at, doc in enumerate(DOCS)],
    "not a corpus any more": [],
}


@pytest.fixture
def own(run_adapt, corpus, finished, tmp_path) -> Path:
    """A finished run whose source is its own, in a folder beside it."""
    (tmp_path / "source").mkdir()
    shutil.copy(corpus, tmp_path / "source" / "nature.jsonl")
    shutil.copytree(finished, tmp_path / "run")
    assert run_adapt(tmp_path / "source" / "nature.jsonl", tmp_path / "run") == 0
    return tmp_path / "run"


def change(source: Path, docs: list[Doc] | None) -> None:
    if docs is None:
        shutil.rmtree(source)
    else:
        write_corpus(source / "nature.jsonl", docs)


def files_of(run: Path) -> dict[str, bytes]:
    names = ("report.json", "report.html", "queries.html")
    return {str(path): path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name not in names}


@pytest.mark.parametrize("what", CHANGES)
def test_a_finished_run_shows_what_was_indexed_whatever_became_of_its_source(own, what, capsys, monkeypatch, tmp_path):
    commands = [["search", "lava", "--system", "bm25"], ["search", "lava", "-k", "2"], ["inspect"]]

    def said() -> str:
        capsys.readouterr()
        for name, *options in commands:
            assert main([name, str(own), *options]) == 0
        return capsys.readouterr().out

    before = said()
    change(own.parent / "source", CHANGES[what])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert said() == before
    assert "Volcano" in before


def test_reading_a_finished_run_never_opens_its_source_and_makes_nothing(own, monkeypatch):
    for name in ("load", "_path", "passages"):
        monkeypatch.setattr(collections, name, lambda *_, **__: pytest.fail("the source was opened"))
    monkeypatch.setattr(workspace.Workspace, "make", lambda *_, **__: pytest.fail("a stage was made"))
    before = files_of(own)
    for command in (["report", own], ["search", own, "lava"], ["inspect", own]):
        assert main([str(part) for part in command]) == 0
    assert files_of(own) == before


def test_a_report_after_an_upgrade_says_so_and_makes_nothing(own, monkeypatch, capsys):
    before = files_of(own)
    for module in (acclimate, workspace, manifests, collections, acclimate.stages.runs):
        monkeypatch.setattr(module, "__version__", "99.0")
    assert main(["report", str(own)]) == 0
    shown = capsys.readouterr()
    assert "nDCG@10" in shown.out
    assert "train was made by acclimate" in shown.err
    assert files_of(own) == before


def test_what_is_read_is_what_was_made_whatever_an_interrupted_command_wanted_then(own, capsys):
    described = json.loads((own / "run.json").read_text())
    (own / "run.json").write_text(json.dumps({**described, "seed": described["seed"] + 1}))
    (own / "seed").mkdir()  # of prompts that this run does not use any more
    (own / "seed" / "manifest.json").write_text("{")
    run, made = open_run(own, "evaluate")
    assert run.seed == described["seed"]
    assert "seed" not in made
    assert main(["report", str(own)]) == 0
    assert f"evaluate was made with the seed {run.seed}" in capsys.readouterr().err


def test_a_moved_run_goes_on_with_what_it_keeps_where_the_source_is_gone(own, tmp_path, capsys):
    moved = tmp_path / "moved"
    own.rename(moved)
    shutil.rmtree(tmp_path / "source")
    assert main(["evaluate", str(moved), "--rerank-depth", "4"]) == 0
    assert "no longer exists" in capsys.readouterr().err
    assert [one["name"] for one in report_of(moved)["stages"] if not one["resumed"]] == ["evaluate"]


def test_where_the_source_is_gone_and_nothing_says_what_was_kept_of_it_the_source_is_asked_for(own, tmp_path, capsys):
    shutil.rmtree(tmp_path / "source")
    (own / "index" / "manifest.json").write_text("{")
    for stage in ("index", "evaluate"):
        assert main([stage, str(own)]) == 2
        assert str(tmp_path / "source") in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_paths_are_meant_from_where_the_run_was_begun(run_adapt, tmp_path, monkeypatch, capsys):
    """A stage's command in another folder reads the same files, not others of their names."""
    write_corpus(tmp_path / "nature.jsonl")
    queries, qrels = write_labels(tmp_path)
    monkeypatch.chdir(tmp_path)
    options = ("--queries", Path(queries).name, "--qrels", Path(qrels).name)
    changes = ("distill.student=dense-query", "distill.epochs=1")
    assert run_adapt(Path("nature.jsonl"), Path("run"), *options, changes=changes) == 0
    (tmp_path / "elsewhere").mkdir()
    write_corpus(tmp_path / "elsewhere" / "nature.jsonl", [NEW])
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["evaluate", "../run"]) == 0
    assert [one["name"] for one in report_of(tmp_path / "run")["stages"] if not one["resumed"]] == []
    assert report_of(tmp_path / "run")["verdict_basis"] == "qrels"


def test_what_was_indexed_from_other_documents_is_made_again_and_it_is_said_from_which(own, capsys):
    index = json.loads((own / "index" / "manifest.json").read_text())
    change(own.parent / "source", [NEW, *DOCS])
    assert main(["index", str(own)]) == 0
    said = capsys.readouterr().err
    assert f"index      was made from {len(DOCS)} documents" in said
    assert f"now there are {len(DOCS) + 1} " in said
    assert index["inputs"]["documents"][:8] in said


@pytest.mark.parametrize("command", [["search", "lava"], ["report"], ["inspect"], ["curve"]])
def test_an_index_that_was_made_again_is_never_mixed_with_what_was_made_from_the_one_before(own, command, capsys):
    assert main(["index", str(own), "--passage-words", "8"]) == 0
    name, *options = command
    assert main([name, str(own), *options]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "was made from other" in said
    assert f"go on with: acclimate {pipeline_stage(name)} {shlex.quote(str(own))}" in said


def pipeline_stage(command: str) -> str:
    return {"inspect": "generate", "curve": "label"}.get(command, "evaluate")


@pytest.mark.slow
def test_a_run_keeps_its_labels(run_adapt, tmp_path, monkeypatch):
    source = tmp_path / "beir"
    (source / "qrels").mkdir(parents=True)
    write_corpus(source / "corpus.jsonl")
    _, qrels = write_labels(source)
    Path(qrels).rename(source / "qrels" / "test.tsv")
    (source / "qrels" / "dev.tsv").write_bytes((source / "qrels" / "test.tsv").read_bytes())
    assert run_adapt(source, tmp_path / "run", changes=FAST) == 0
    found = collections.load(source, tmp_path / "cache")
    shutil.rmtree(source)
    run, _ = open_run(tmp_path / "run", "evaluate")
    kept = run.input.collection
    assert kept.queries == found.queries
    assert {split: sorted(qrels) for split, qrels in kept.qrels.items()} == {
        split: sorted(qrels) for split, qrels in found.qrels.items()
    }
    assert list(kept.corpus.items()) == list(found.corpus.items())
