"""The command line as a person types it: help, options, exit codes, and where output goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from chain import write_answers, write_corpus

from acclimate import __version__
from acclimate.api.stages import SUMMARIES
from acclimate.cli.main import app, main
from acclimate.cli.stage_commands import help_of
from acclimate.run.recipes import recipe_names
from acclimate.run.settings import check, settings_of
from acclimate.stages.chain import STAGES

COMMANDS = ["adapt", "report", "inspect", "search", "compare", "convert-model", "doctor", *STAGES]


@pytest.fixture
def corpus(tmp_path) -> str:
    return str(write_corpus(tmp_path / "corpus.jsonl"))


@pytest.fixture
def out(tmp_path) -> str:
    return str(tmp_path / "run")


def typed(*arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "acclimate", *arguments], capture_output=True, text=True, timeout=timeout
    )


# Help


def test_every_command_has_help(capsys):
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        shown, said = capsys.readouterr()
        assert said == ""
        assert f"acclimate {command}" in shown


def test_every_argument_and_option_is_explained():
    def inside(group):
        return [group[name] for name in group if not name.startswith("-")]

    commands = [command for top in inside(app) for command in inside(top) or [top]]
    arguments = [argument for each in commands for argument in each.assemble_argument_collection(parse_docstring=True)]
    assert len(arguments) > 300
    assert [argument.names for argument in arguments if not argument.parameter.help] == []


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [command for command in COMMANDS if command not in shown] == []


@pytest.mark.parametrize("arguments", [["--help"], ["recipes", "show", "quick"], ["convert", "--list"]])
def test_a_reader_that_stops_reading_is_no_failure(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "acclimate", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("stage", STAGES)
def test_the_help_of_a_stage_has_its_summary_and_each_setting_with_its_default(stage, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert main([stage, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert SUMMARIES[stage] in shown
    settings = settings_of(STAGES[stage])
    assert settings
    for setting in settings.values():
        assert setting.help, setting.name
        assert f"--{setting.name.replace('_', '-')}" in shown
        assert help_of(setting) in shown
        _, is_said, default = help_of(setting).removesuffix("]").rpartition(" [default: ")
        assert check(default if is_said else "", setting, setting.name) == setting.default


@pytest.mark.parametrize("command", COMMANDS)
def test_help_speaks_to_whoever_types(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    for odd in ("Default:", "`folder", "Returns", "None", "False", "()", "--no-", "--empty-", " STR"):
        assert odd not in shown, odd
    first = shown.partition("\n\n")[2].partition("\n")[0]
    assert first.endswith("."), first


def test_every_setting_has_a_default_that_its_own_check_lets_through():
    for stage, function in STAGES.items():
        for setting in settings_of(function).values():
            default = setting.default
            as_typed = ",".join(default) if isinstance(default, tuple) else str(default)
            assert check(as_typed, setting, f"{stage}.{setting.name}") == default


def test_the_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_nothing_typed_shows_the_help(capsys):
    assert main([]) == 0
    assert "adapt" in capsys.readouterr().out


# Options as typed


def test_a_setting_typed_as_an_option_or_as_text_is_the_same_setting(corpus, tmp_path, capsys):
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    assert main(["sample", one, "--corpus", corpus, "--n-docs", "7", "--min-chars=40", "--dev-share", "0.5"]) == 0
    recipe = tmp_path / "mine.toml"
    recipe.write_text('description = "Mine."\n[sample]\nn_docs = 9\nmin_chars = 40\n')
    assert main(["sample", other, "--corpus", corpus]) == 0
    assert main(["sample", other, "--n-docs", "7", "--min-chars", "40", "--dev-share=0.5"]) == 0
    printed, said = capsys.readouterr()
    assert printed == ""
    assert "n_docs was 1000 and is 7" in said
    manifests = [json.loads((Path(run) / "sample" / "manifest.json").read_text()) for run in (one, other)]
    assert manifests[0]["settings"] == {
        "n_docs": 7,
        "method": "uniform",
        "n_clusters": 0,
        "min_chars": 40,
        "max_per_source": 0,
        "near_duplicates": 0.9,
        "length_power": 1.0,
        "windows": 0.5,
        "dev_share": 0.5,
        "examples": "",
        "n_examples": 3,
    }
    assert manifests[0]["fingerprint"] == manifests[1]["fingerprint"]


def test_every_recipe_that_comes_along_is_one(corpus, out, capsys):
    few = ("--set", "train.max_queries=4", "--set", "train.min_queries=1")  # as many as 40 documents have
    assert recipe_names()
    for recipe in recipe_names():
        needs_examples = recipe.startswith("promptagator")  # of the user's own
        code = main(["adapt", corpus, "--out", out, "--recipe", recipe, *few, "--dry-run"])
        assert code == (2 if needs_examples else 0), recipe
        said = capsys.readouterr().err
        assert ("has no training judgments; expected a file" in said) == needs_examples


def test_two_runs_of_the_same_queries_are_compared(tmp_path, capsys):
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ta\t1\nq2\tb\t1\n")
    (tmp_path / "one.trec").write_text("q1 Q0 a 1 2.0 x\nq1 Q0 b 2 1.0 x\nq2 Q0 b 1 1.0 x\n")
    (tmp_path / "two.trec").write_text("q1 Q0 b 1 2.0 x\nq1 Q0 a 2 1.0 x\nq2 Q0 b 1 1.0 x\n")
    files = [str(tmp_path / name) for name in ("qrels.tsv", "one.trec", "two.trec")]
    assert main(["compare", *files, "--measure", "RR@2"]) == 0
    printed, said = capsys.readouterr()
    assert said == ""
    assert printed.startswith("RR@2: 1.0000 against 0.7500, difference +0.2500")
    assert "1 better, 0 worse, 1 equal: NO DIFFERENCE" in printed


def test_runs_too_short_for_the_measures_are_refused_before_work_begins(tmp_path, capsys):
    for changes in (["--dry-run"], []):
        assert main(["adapt", "pydocs", "--out", str(tmp_path / "run"), "--set", "evaluate.k=99", *changes]) == 2
        assert "evaluate.k is 99; expected" in capsys.readouterr().err
    assert not (tmp_path / "run" / "index").exists()


# The process itself


def test_the_command_exits_with_its_code_and_prints_where_it_should(corpus, out):
    wrong = typed("adapt", corpus, "--out", out, "--recipe", "quik")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("acclimate: no recipe")
    right = typed("doctor")
    assert (right.returncode, right.stderr) == (0, "")
    assert f"acclimate {__version__}" in right.stdout


@pytest.mark.parametrize(
    ("module", "sent", "code"), [("cyclopts", "SIGINT", 130), ("numpy", "SIGTERM", 143), ("torch", "SIGHUP", 129)]
)
def test_a_signal_while_modules_are_imported_leaves_no_traceback(module, sent, code, interruptible):
    script = f"""
import os, signal, sys

class Sent:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{sent})

from acclimate.__main__ import entry
sys.meta_path.insert(0, Sent())
entry()
"""
    done = subprocess.run([sys.executable, "-c", script, "doctor"], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "completed work is kept" in done.stderr


def test_where_no_temporary_file_can_be_made_libraries_find_a_folder_all_the_same(monkeypatch):
    """torch and dill need one when they are imported, as in containers whose file system is read-only."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    assert main(["recipes", "list"]) == 0
    assert Path(tempfile.gettempdir()).is_dir()
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).is_dir()


# Prompts and the answers kept


def test_prompts_are_listed_shown_and_checked(tmp_path, capsys):
    assert main(["prompts", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in listed if line} >= {"inpars", "inpars-gbq", "question", "keyword", "claim"}
    assert main(["prompts", "show", "inpars-gbq", "--document", "a {document} of mine"]) == 0
    shown = capsys.readouterr().out
    assert shown.endswith("Document: a {document} of mine\nGood Question:\n")
    assert shown.count("Bad Question: ") == 3
    path = tmp_path / "own.toml"
    path.write_text('target = "{document}\\nAsk:"')
    assert main(["prompts", "check", str(path)]) == 0
    assert "own, about" in capsys.readouterr().out
    path.write_text('target = "no place for it"')
    assert main(["prompts", "check", str(path)]) == 2
    assert "target has no {document}" in capsys.readouterr().err


@pytest.fixture
def kept(tmp_path):
    return write_answers(tmp_path)


def test_what_is_kept_is_counted(kept, capsys):
    assert main(["cache", "stats", str(kept)]) == 0
    out = capsys.readouterr().out
    assert "2 answers" in out
    assert "generate: fake asked 2 times, 7 tokens read, 9 written, $0.00" in out
    assert main(["cache", "stats", str(kept / "nowhere")]) == 2


def test_a_damaged_answer_is_found_and_removed(kept, capsys):
    import sqlite3

    assert main(["cache", "verify", str(kept)]) == 0
    with sqlite3.connect(kept / "completions.sqlite") as rows:
        rows.execute("UPDATE completions SET payload = '{broken' WHERE key = (SELECT min(key) FROM completions)")
    assert main(["cache", "verify", str(kept)]) == 2
    assert "cache prune" in capsys.readouterr().err
    assert main(["cache", "prune", str(kept)]) == 0
    assert "1 answer removed, 1 kept" in capsys.readouterr().out
    assert main(["cache", "verify", str(kept)]) == 0
