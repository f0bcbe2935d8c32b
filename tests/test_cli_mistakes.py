"""Mistakes at the command line: each is one clear line on stderr, exit 2, and nothing is done."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import pytest
from chain import write_answers, write_corpus

import acclimate
from acclimate.base.testing import DOCS
from acclimate.base.text import command
from acclimate.cli.main import main


@pytest.fixture
def corpus(tmp_path) -> str:
    return str(write_corpus(tmp_path / "corpus.jsonl"))


@pytest.fixture
def out(tmp_path) -> str:
    return str(tmp_path / "run")


@pytest.fixture
def unfinished(corpus, out, capsys) -> str:
    """A run that came no farther than its first two stages."""
    assert main(["sample", out, "--corpus", corpus, "--n-docs", "5", "--min-chars", "40"]) == 0
    capsys.readouterr()
    return out


@pytest.fixture
def mistake(capsys):
    """What is said of a command line that cannot work: one line on stderr, nothing on stdout, exit 2."""

    def said(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        printed, shown = capsys.readouterr()
        assert printed == ""
        line = "".join(line for line in shown.splitlines(keepends=True) if " loading " not in line)
        assert line.startswith("acclimate: ")
        assert line.count("\n") == 1, line
        assert "Traceback" not in line
        return line

    return said


def test_a_corpus_that_is_missing(mistake, corpus, out, tmp_path):
    assert "Did you mean" in mistake("adapt", str(tmp_path / "corpus.json"), "--out", out)
    assert "'pydocs'" in mistake("adapt", "pydoc", "--out", out)


def test_what_is_empty_is_no_folder_to_write_to_and_no_query(mistake, corpus, unfinished):
    assert "--out is empty" in mistake("adapt", corpus, "--out", "")
    assert "the folder of the run is empty" in mistake("index", "", "--corpus", corpus)
    for nothing in ("", " ", "\u3000"):
        assert "QUERY is empty" in mistake("search", unfinished, nothing)


def test_a_run_is_no_corpus(mistake, unfinished, tmp_path):
    assert f"{unfinished}: is a run" in mistake("adapt", unfinished, "--out", str(tmp_path / "other"))
    assert f"{unfinished}: is a run" in mistake("index", str(tmp_path / "other"), "--corpus", unfinished)


def test_a_file_of_prices_is_read_whoever_is_asked(mistake, corpus, out, tmp_path):
    assert "none.toml: no such file" in mistake("adapt", corpus, "--out", out, "--prices", str(tmp_path / "none.toml"))
    assert "is a directory" in mistake("cache", "stats", str(write_answers(tmp_path)), "--prices", str(tmp_path))


def test_vectors_longer_than_the_base_s_are_refused_before_the_first_stage(mistake, corpus, out, tiny_encoder):
    bases = [f"--set={stage}.base={tiny_encoder}" for stage in ("distill", "train")]
    for setting in ("dim=33", "matryoshka=8,33", "tune=dim:16:33", "tune=matryoshka:33"):
        said = mistake("adapt", corpus, "--out", out, "--dry-run", *bases, "--set", f"distill.{setting}")
        assert "is 33; the base's vectors have 32 components" in said


@pytest.mark.parametrize("columns", ["0", "1", "999999999", "-1", "\u00b2", "\u0663", "x", ""])
def test_help_is_shown_whatever_the_shell_says_of_its_width(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["adapt", "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) < 1000


def test_a_folder_that_was_removed_under_a_shell_is_told(mistake, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "no longer exists" in mistake("adapt", "corpus.jsonl", "--out", "run")


def test_a_locale_that_misreads_names_is_told(mistake, corpus, out, monkeypatch):
    """As LC_ALL=en_US, in which names of documents and words of queries would be other ones."""
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    assert "are iso8859-1 here; expected UTF-8. To set it, type: export PYTHONUTF8=1" in mistake(
        "index", out, "--corpus", corpus
    )


def test_a_folder_whose_name_is_not_utf8_is_told_before_anything_is_read(mistake, corpus, tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert "is not UTF-8; expected names of folders" in mistake("index", "run", "--corpus", corpus)
    assert [*folder.iterdir()] == []
    with pytest.raises(acclimate.SettingError, match="is not UTF-8"):
        acclimate.adapt(folder / "docs.jsonl", out=tmp_path / "run")


def test_a_folder_too_deep_for_sqlite_is_told_before_anything_is_read(mistake, corpus, tmp_path):
    said = mistake("index", str(tmp_path.joinpath(*["deep" * 40] * 3)), "--corpus", corpus)
    assert "bytes, of which SQLite takes 504; use a folder with a shorter one" in said


def test_a_run_stays_what_it_was_when_its_command_is_mistyped(mistake, unfinished):
    before = (Path(unfinished) / "run.json").read_text()
    mistake("adapt", "pydoc", "--out", unfinished)
    assert (Path(unfinished) / "run.json").read_text() == before


@pytest.mark.parametrize("setting", ["seed.llm", "filter.llm", "generate.llm", "label.teachers", "filter.reranker"])
def test_an_address_with_a_secret_in_it_is_refused_before_anything_is_written(mistake, corpus, out, tmp_path, setting):
    stage, key = setting.split(".")
    name = "yes-no:openai:m@http://user:hunter2@h/v1" if key == "teachers" else "openai:m@http://h/v1#hunter2"
    (tmp_path / "own.toml").write_text(f'[{stage}]\n{key} = "{name}"\n')
    for given in (["--set", f"{setting}={name}"], ["--recipe", str(tmp_path / "own.toml")]):
        for more in ([], ["--dry-run"]):
            said = mistake("adapt", corpus, "--out", out, *given, *more)
            assert f"{setting}: an address with a secret in it" in said
            assert "hunter2" not in said
    assert not Path(out).exists()


def test_a_run_inside_its_own_corpus(mistake, tmp_path):
    (tmp_path / "a.txt").write_text("A document.", encoding="utf-8")
    assert "choose another folder" in mistake("adapt", str(tmp_path), "--out", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_folder_without_documents(mistake, out, tmp_path):
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in mistake("adapt", str(tmp_path / "empty"), "--out", out)


def test_a_file_in_place_of_the_runs_folder(mistake, corpus):
    assert "is a file; expected the folder of a run" in mistake("adapt", corpus, "--out", corpus)


def test_a_folder_in_place_of_a_file(mistake, corpus, out, tmp_path):
    said = mistake("adapt", corpus, "--out", out, "--queries", str(tmp_path), "--qrels", str(tmp_path))
    assert "is a directory; expected a file" in said


def test_a_broken_line_is_named(mistake, corpus, out):
    with Path(corpus).open("a") as lines:
        lines.write('{"_id": "x", "text": \n')
    assert f"{corpus}:{len(DOCS) + 1}: not JSON" in mistake("adapt", corpus, "--out", out)


def test_a_record_without_text_is_named(mistake, corpus, out):
    with Path(corpus).open("a") as lines:
        lines.write('{"_id": "x", "txet": "what"}\n')
    assert f"{corpus}:{len(DOCS) + 1}: " in mistake("adapt", corpus, "--out", out)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--recipe", "quik"], "no recipe (or file) named 'quik'. Did you mean 'quick'?"),
        (["--recipe", "missing.toml"], "missing.toml: no such file"),
        (["--set", "sample.ndocs=3"], "no setting of sample named 'ndocs'. Did you mean 'n_docs'?"),
        (["--set", "smple.n_docs=3"], "no stage named 'smple'. Did you mean 'sample'?"),
        (["--set", "sample.n_docs"], "expected stage.setting=value"),
        (["--set", "n_docs=3"], "expected stage.setting=value"),
        (["--set", "=3"], "expected stage.setting=value"),
        (["--set", "sample.n_docs=many"], "sample.n_docs is 'many'; expected a whole number"),
        (["--set", "sample.n_docs=1.5"], "expected a whole number"),
        (["--set", "sample.n_docs="], "expected a whole number"),
        (["--set", "sample.method=divers"], "no sample.method named 'divers'. Did you mean 'diverse'?"),
        (["--set", "sample.near_duplicates=0"], "sample.near_duplicates is 0.0; expected a number: above 0, to 1"),
        (["--set", "index.passage_words=-1"], "index.passage_words is -1"),
        (["--set", "index.passage_words=9", "--set", "index.passage_overlap=9"], "fewer than index.passage_words (9)"),
        (
            ["--set", "sample.examples=missing.jsonl", "--set", "generate.prompt=promptagator"],
            "missing.jsonl: no such file",
        ),
        (["--set", "distill.student=dens"], "no distill.student named 'dens'. Did you mean 'dense'?"),
        (["--set", "generate.llm=embedded:smollm"], "no embedded model named 'smollm'"),
        (["--set", "generate.llm=no such model"], "no model at 'no such model'"),
        (["--set", "generate.prompt=inparz"], "no prompt (or file) named 'inparz'. Did you mean 'inpars'?"),
        (["--set", "distill.base=/nowhere/model"], "no model at '/nowhere/model'"),
        (["--reciep", "quick"], "Unknown option: --reciep. Did you mean --recipe?"),
        (["--seed", "x"], "--seed is 'x'; expected a whole number"),
        (["--max-tokens", "many"], "--max-tokens 'many': expected a number, or STAGE=NUMBER"),
        (["--max-cost", "-1"], "--max-cost is '-1'; expected a number: 0 to"),
        (["--queries", "queries.jsonl"], "--queries and --qrels go together"),
        (["--qrels", "qrels.tsv"], "--queries and --qrels go together"),
    ],
)
def test_a_mistake_in_an_option_is_told_before_anything_is_done(mistake, corpus, out, options, expected):
    assert expected in mistake("adapt", corpus, "--out", out, *options)
    assert not (Path(out) / "index").exists()


def test_a_command_that_does_not_exist(mistake):
    assert 'Did you mean "adapt"?' in mistake("adpat", "pydocs", "--out", "x")


def test_an_option_of_a_stage_that_does_not_exist(mistake, out):
    assert "Did you mean --max-doc-tokens?" in mistake("generate", out, "--max-doc-token", "3")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("adapt docs", "--out is missing. For help: acclimate adapt --help"),
        ("adapt docs --uot run", "--out is missing. Did you mean --out instead of --uot? For help"),
        ("adapt docs --out", "--out needs a value. For help"),
        ("search", "RUN-DIR is missing. For help: acclimate search --help"),
        ("search run", "QUERY is missing. For help"),
        ("search run reset the thing", "found 'the' after the last argument; put quotes around a text with blanks."),
        ("cache stats", "RUN-DIR is missing. For help: acclimate cache stats --help"),
    ],
)
def test_what_is_left_out_or_too_much_is_named_as_in_the_line_of_usage(mistake, typed, expected):
    assert expected in mistake(*typed.split())


def test_a_recipe_that_is_no_toml(mistake, corpus, out, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[sample\n")
    assert f"{recipe}: not TOML" in mistake("adapt", corpus, "--out", out, "--recipe", str(recipe))
    recipe.write_text("n_docs = 3\n")
    assert "no key named 'n_docs'" in mistake("adapt", corpus, "--out", out, "--recipe", str(recipe))


def test_no_run_in_a_folder(mistake, out):
    for words in (["search", out, "x"], ["report", out], ["filter", out]):
        assert command("adapt", "CORPUS", "--out", out) in mistake(*words)


def test_searching_a_run_that_is_not_finished(mistake, unfinished):
    for words in (["search", unfinished, "lava"], ["report", unfinished]):
        assert command("evaluate", unfinished) in mistake(*words)


def test_comparing_files_that_are_missing(mistake, tmp_path):
    missing = str(tmp_path / "qrels.tsv")
    assert f"{missing}: no such file" in mistake("compare", missing, missing, missing)


def test_a_folder_in_use(mistake, unfinished, corpus):
    from acclimate.run.workspace import Workspace

    with Workspace(Path(unfinished)).lock():
        assert "is in use by another acclimate" in mistake("sample", unfinished)


def test_documents_named_beside_a_run_begin_none_anew(corpus, unfinished, mistake, tmp_path, capsys):
    assert main(["sample", unfinished, "--corpus", corpus]) == 0
    assert "is made again" not in capsys.readouterr().err
    assert json.loads((Path(unfinished) / "run.json").read_text())["settings"]["sample"]["n_docs"] == 5
    (tmp_path / "other.jsonl").write_text(Path(corpus).read_text())
    said = mistake("sample", unfinished, "--corpus", str(tmp_path / "other.jsonl"))
    assert "holds a run of" in said and "expected a new folder" in said


# Prompts and the answers kept


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.ESTALE, "Stale file handle", "run"), "to resume"),
        (OSError(errno.EROFS, "Read-only file system", "run"), "change its permissions, or use another folder"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (ImportError("libtorch.so: failed to map segment from shared object"), "to resume"),
        (MemoryError(), "out of memory; completed work is kept"),
    ],
)
def test_a_limit_of_the_machine_is_told_with_what_to_do(mistake, monkeypatch, error, expected):
    def doctor():
        raise error

    monkeypatch.setattr(acclimate, "doctor", doctor)
    assert expected in mistake("doctor")


def test_a_mistake_of_ours_is_no_limit_of_the_machine(monkeypatch):
    monkeypatch.setattr(acclimate, "doctor", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])
