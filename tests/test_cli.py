"""The command line as a person types it: exit codes, one clear line for each mistake, and where output goes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import acclimate
from acclimate import __version__
from acclimate.api.stages import SUMMARIES
from acclimate.base.testing import DOCS
from acclimate.cli.main import main
from acclimate.cli.stage_commands import help_of
from acclimate.run.recipes import recipe_names
from acclimate.run.settings import check, settings_of
from acclimate.stages.chain import STAGES

COMMANDS = ["adapt", "report", "inspect", "search", "compare", "convert-model", "doctor", *STAGES]


@pytest.fixture
def corpus(tmp_path) -> str:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"_id": d.doc_id, "title": d.title, "text": d.text}) + "\n" for d in DOCS))
    return str(path)


@pytest.fixture
def out(tmp_path) -> str:
    return str(tmp_path / "run")


@pytest.fixture
def unfinished(corpus, out, capsys) -> str:
    """A run that came no farther than its first two stages."""
    assert main(["sample", out, "--corpus", corpus, "--n-docs", "5", "--min-chars", "40"]) == 0
    capsys.readouterr()
    return out


def typed(*arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "acclimate", *arguments], capture_output=True, text=True, timeout=timeout
    )


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


# Help


def test_every_command_has_help(capsys):
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        shown, said = capsys.readouterr()
        assert said == ""
        assert f"acclimate {command}" in shown


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [command for command in COMMANDS if command not in shown] == []


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


# Mistakes


def test_a_corpus_that_is_missing(mistake, corpus, out, tmp_path):
    assert "Did you mean" in mistake("adapt", str(tmp_path / "corpus.json"), "--out", out)
    assert "'pydocs'" in mistake("adapt", "pydoc", "--out", out)


def test_what_is_empty_is_no_folder_to_write_to_and_no_query(mistake, corpus, unfinished):
    assert "--out is empty" in mistake("adapt", corpus, "--out", "")
    assert "the folder of the run is empty" in mistake("index", "", "--corpus", corpus)
    for nothing in ("", " ", "\u3000"):
        assert "QUERY is empty" in mistake("search", unfinished, nothing)


def test_a_run_is_no_corpus(mistake, unfinished, tmp_path):
    assert f"{unfinished} is a run" in mistake("adapt", unfinished, "--out", str(tmp_path / "other"))


def test_a_file_of_prices_is_read_whoever_is_asked(mistake, corpus, out, kept, tmp_path):
    assert "none.toml: no such file" in mistake("adapt", corpus, "--out", out, "--prices", str(tmp_path / "none.toml"))
    assert "is a directory" in mistake("cache", "stats", str(kept), "--prices", str(tmp_path))


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
    assert "is not there any more" in mistake("adapt", "corpus.jsonl", "--out", "run")


def test_a_folder_whose_name_is_not_utf8_is_told_before_anything_is_read(mistake, corpus, tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert "is not UTF-8; expected names of folders" in mistake("index", "run", "--corpus", corpus)
    assert [*folder.iterdir()] == []
    with pytest.raises(acclimate.SettingError, match="is not UTF-8"):
        acclimate.adapt(folder / "docs.jsonl", out=tmp_path / "run")


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
    assert "choose it elsewhere" in mistake("adapt", str(tmp_path), "--out", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_folder_without_documents(mistake, out, tmp_path):
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in mistake("adapt", str(tmp_path / "empty"), "--out", out)


def test_a_file_in_place_of_the_runs_folder(mistake, corpus):
    assert "is a file; expected a folder" in mistake("adapt", corpus, "--out", corpus)


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


def test_what_is_left_out_is_named(mistake, corpus):
    assert "--out" in mistake("adapt", corpus)
    assert "run-dir" in mistake("search").lower().replace("_", "-")


def test_a_recipe_that_is_no_toml(mistake, corpus, out, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[sample\n")
    assert f"{recipe}: not TOML" in mistake("adapt", corpus, "--out", out, "--recipe", str(recipe))
    recipe.write_text("n_docs = 3\n")
    assert "no key named 'n_docs'" in mistake("adapt", corpus, "--out", out, "--recipe", str(recipe))


def test_no_run_in_a_folder(mistake, out):
    for command in (["search", out, "x"], ["report", out], ["filter", out]):
        assert f"acclimate adapt CORPUS --out {out}" in mistake(*command)


def test_searching_a_run_that_is_not_finished(mistake, unfinished):
    for command in (["search", unfinished, "lava"], ["report", unfinished]):
        assert f"acclimate evaluate {unfinished}" in mistake(*command)


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


def test_a_dry_run_says_what_would_be_done_and_does_nothing(corpus, out, tmp_path, capsys):
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[sample]\nn_docs = 11\nmin_chars = 40\n")
    before = sorted(tmp_path.rglob("*"))
    assert main(["adapt", corpus, "--out", out, "--recipe", str(recipe), "--set", "sample.n_docs=9", "--dry-run"]) == 0
    printed, _ = capsys.readouterr()
    assert all(stage in printed for stage in STAGES if stage != "seed")
    assert "9 queries" in printed
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_counts_the_calls_of_every_stage_that_asks_an_llm(corpus, out, capsys):
    changes = ["generate.prompt=adapted", "sample.min_chars=40", "seed.n_docs=16", "filter.filters=judge"]
    changes += ["seed.llm=openai:gpt-4.1", "filter.llm=openai:nobody-knows"]
    sets = [part for change in changes for part in ("--set", change)]
    assert main(["adapt", corpus, "--out", out, *sets, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    calls = {line.split()[0]: re.findall(r"[\d,]+", line) for line in printed.splitlines() if line}
    assert calls["seed"][1] == "32"  # good and bad questions for 16 documents
    assert calls["generate"][1] == calls["filter"][1]
    assert "openai:gpt-4.1 costs $" in printed
    assert "the price of openai:nobody-knows is not known" in printed


def test_a_dry_run_counts_every_reranker_and_student(corpus, out, capsys, monkeypatch):
    monkeypatch.setattr("acclimate.report.plan._flop_per_second", lambda: 1e9)  # of a machine that is always as fast

    def times(*changes):
        sets = [
            part for change in ("sample.min_chars=40", "train.min_queries=1", *changes) for part in ("--set", change)
        ]
        assert main(["adapt", corpus, "--out", out, *sets, "--dry-run"]) == 0
        return {line.split()[0]: line.split("queries")[-1] for line in capsys.readouterr().out.splitlines() if line}

    one, several = times(), times("train.rerankers=3")
    assert {stage for stage in STAGES if one.get(stage) != several.get(stage)} == {"label", "evaluate"}
    asked = times("train.rerankers=3", "label.weights=equal")
    assert {stage for stage in STAGES if asked.get(stage) != several.get(stage)} == {"label"}
    fewer = times("distill.student=static")
    assert {stage for stage in STAGES if one.get(stage) != fewer.get(stage)} == {"distill"}


def test_a_dry_run_leaves_a_begun_run_as_it_is(corpus, unfinished, capsys):
    def state() -> dict[str, tuple[int, float]]:
        found = sorted(path for path in Path(unfinished).rglob("*") if path.is_file())
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}

    before = state()
    assert main(["adapt", corpus, "--out", unfinished, "--dry-run"]) == 0
    assert "Nothing was done" in capsys.readouterr().out
    assert state() == before


def test_every_recipe_that_comes_along_is_one(corpus, out, capsys):
    few = ("--set", "train.max_queries=4", "--set", "train.min_queries=1")  # as many as 40 documents have
    assert recipe_names()
    for recipe in recipe_names():
        needs_examples = recipe.startswith("promptagator")  # of the user's own
        code = main(["adapt", corpus, "--out", out, "--recipe", recipe, *few, "--dry-run"])
        assert code == (2 if needs_examples else 0), recipe
        said = capsys.readouterr().err
        assert ("brings no training judgments; expected a file" in said) == needs_examples


def test_two_runs_of_the_same_queries_are_compared(tmp_path, capsys):
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ta\t1\nq2\tb\t1\n")
    (tmp_path / "one.trec").write_text("q1 Q0 a 1 2.0 x\nq1 Q0 b 2 1.0 x\nq2 Q0 b 1 1.0 x\n")
    (tmp_path / "two.trec").write_text("q1 Q0 b 1 2.0 x\nq1 Q0 a 2 1.0 x\nq2 Q0 b 1 1.0 x\n")
    files = [str(tmp_path / name) for name in ("qrels.tsv", "one.trec", "two.trec")]
    assert main(["compare", *files, "--measure", "RR@10"]) == 0
    printed, said = capsys.readouterr()
    assert said == ""
    assert printed.startswith("RR@10: 1.0000 against 0.7500, difference +0.2500")
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
    assert "what is made is kept" in done.stderr


def test_a_program_that_is_started_without_signals_is_not_stopped_by_them():
    script = """
import os, signal, subprocess, sys
from acclimate.base import signals

def main():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    return 0

if sys.argv[1:]:
    signals.run(main)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.exit(subprocess.run([sys.executable, "-c", os.environ["SCRIPT"], "again"]).returncode)
"""
    environment = {**os.environ, "SCRIPT": script}
    assert subprocess.run([sys.executable, "-c", script], env=environment).returncode == 0


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
    from acclimate.base.testing import FakeLLM
    from acclimate.llm.completions import Completions

    with Completions(tmp_path / "completions.sqlite", "generate") as completions:
        completions.complete(FakeLLM(), ["Document: one two", "Document: three four five"])
    return tmp_path


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
    assert "1 answers removed, 1 kept" in capsys.readouterr().out
    assert main(["cache", "verify", str(kept)]) == 0
