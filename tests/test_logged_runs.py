"""Runs with a log of real queries: nothing personal in their folders, a log that changes, one that is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from chain import FAST, CountingLLM, contents, fake_answers, made_again, report_of, write_corpus, write_labels
from files_page import undocumented

import acclimate
from acclimate.base.testing import QUERIES, FakeLLM
from acclimate.cli.main import main
from acclimate.corpus.query_log import NO_LOG
from acclimate.run.provided import Provided
from acclimate.run.recipes import load_recipe
from acclimate.run.run import Run
from acclimate.run.settings import resolve
from acclimate.run.workspace import Workspace
from acclimate.stages import generate
from acclimate.stages.chain import STAGES
from acclimate.stages.runs import load_run, open_run, resume_run

pytestmark = pytest.mark.usefixtures("fake_llm")

PERSONAL = ("planted.person@example.com", "+49 30 5550172", "0305550172", "DE89370400440532013000", "203.0.113.77")
LINES = [
    "how does lava reach the {surface}",
    "rtx-4090 %s 0x80070057",
    *(f"reset {personal} pump" for personal in PERSONAL),
    *PERSONAL,
]


@pytest.fixture
def searches(tmp_path) -> Path:
    path = tmp_path / "searches.txt"
    path.write_text("\n".join(LINES))
    return path


@pytest.fixture(scope="module")
def logged(run_adapt, tmp_path_factory) -> Path:
    """A finished run whose prompts show queries of a log that is gone."""
    folder = tmp_path_factory.mktemp("logged")
    searches = folder / "searches.txt"
    searches.write_text("\n".join(LINES))
    with fake_answers():
        options = ("--log", str(searches))
        changes = (*FAST, "generate.log_examples=3")
        assert run_adapt(write_corpus(folder / "nature.jsonl"), folder / "run", *options, changes=changes) == 0
    searches.unlink()
    (folder / "nature.jsonl").unlink()
    return folder / "run"


def test_nothing_personal_is_anywhere_in_the_folder_of_a_run(logged):
    for path in logged.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for secret in (*PERSONAL, "planted", "5550172", "3704 0044"):
            assert secret.encode() not in content, path


def test_prompts_show_how_people_ask_and_nothing_personal(run_adapt, tmp_path, searches, monkeypatch):
    prompts: list[str] = []

    def complete(self, texts):
        prompts.extend(texts)
        return FakeLLM.complete(self, texts)

    monkeypatch.setattr(CountingLLM, "complete", complete)
    changes = (*FAST, "generate.log_examples=3")
    assert run_adapt(write_corpus(tmp_path / "a.jsonl"), tmp_path / "run", "--log", str(searches), changes=changes) == 0
    assert len(prompts) == 36
    begins = {prompt.partition("\n\n")[0] for prompt in prompts}
    assert len(begins) == 1
    head, *queries = begins.pop().splitlines()
    assert head == "People here ask like this:"
    assert sorted(queries) == [f"- {LINES[0]}", "- reset pump", f"- {LINES[1]}"]


def test_no_prompt_shows_a_query_that_is_measured(tmp_path):
    queries, qrels = write_labels(tmp_path)
    (tmp_path / "log.txt").write_text("\n".join(["a query of the log", *(query.text.upper() for query in QUERIES)]))
    settings = resolve(STAGES, load_recipe("quick"), ["generate.log_examples=9"])
    corpus = str(write_corpus(tmp_path / "a.jsonl"))
    run = Run(Workspace(tmp_path / "run"), settings, 0, corpus, Provided(queries, qrels, str(tmp_path / "log.txt")))
    assert len(run.input.log) == 1 + len(QUERIES)
    prompt = generate._mix(run, ["question"], generate.Material(log=run.input.unjudged_log)).prompts[0]
    assert prompt.hints == "People here ask like this:\n- a query of the log"


def test_a_log_is_kept_and_accounted_for(logged):
    assert undocumented(logged) == set()
    run, _ = open_run(logged, "evaluate")
    log = run.input.log
    assert {query.text: query.count for query in log.queries} == {LINES[0]: 1, LINES[1]: 1, "reset pump": 5}
    assert log.account() == {"queries": 3, "asked": 7, "masked": 10, "dropped": {"nothing but personal data": 5}}
    assert report_of(logged)["log"] == log.account()


def test_a_run_goes_on_without_its_log_and_reads_what_it_kept(logged, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(logged, copy)
    assert len(resume_run(copy).input.log) == 3
    assert main(["generate", str(copy)]) == 0
    assert "no longer exists; continuing with the run's own copy" in capsys.readouterr().err
    assert main(["report", str(copy)]) == 0
    assert contents(copy)["corpus/log.jsonl"] == contents(logged)["corpus/log.jsonl"]


def test_a_damaged_log_is_named(logged, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(logged, copy)
    (copy / "corpus" / "log.jsonl").write_text("{}\n")
    run, _ = open_run(copy, "evaluate")
    with pytest.raises(acclimate.DataError, match=r"log\.jsonl: not what the run kept"):
        _ = run.input.log


def test_only_what_shows_a_log_is_made_again_when_it_changes(run_adapt, tmp_path, searches):
    corpus, out = write_corpus(tmp_path / "nature.jsonl"), tmp_path / "run"

    def adapt(*changes: str, log: Path | None = searches) -> list[str]:
        options = () if log is None else ("--log", str(log))
        assert (
            run_adapt(corpus, out, *options, changes=(*FAST, "steer.log_queries=0", "label.log_queries=0", *changes))
            == 0
        )
        return made_again(out)

    adapt()
    before = contents(out)
    searches.write_text("\n".join([*LINES[::-1], "another query"]))
    assert adapt() == []  # nobody reads it
    assert contents(out)["corpus/log.jsonl"] != before["corpus/log.jsonl"]
    assert adapt("generate.log_examples=2")[0] == "generate"
    searches.write_text("\n".join([*LINES[::-1], "another query", "another query", *["a third query"] * 90]))
    assert adapt("generate.log_examples=2")[0] == "generate"
    searches.write_text("\n".join(sorted(searches.read_text().splitlines())))
    assert adapt("generate.log_examples=2") == []  # its order is nothing
    assert adapt("generate.log_examples=2", log=None)[0] == "generate"
    assert not list((out / "corpus").glob("log.jsonl*"))
    assert json.loads((out / "run.json").read_text())["log"] is None
    assert report_of(out)["settings"]["generate"]["log_examples"] == 2


def test_a_run_of_an_earlier_version_knows_of_no_log(copied):
    description = json.loads((copied / "run.json").read_text())
    del description["log"]
    (copied / "run.json").write_text(json.dumps(description))
    assert load_run(copied).input.log == NO_LOG
    assert main(["report", str(copied)]) == 0
    (copied / "run.json").write_text(json.dumps({**description, "log": 3}))
    with pytest.raises(acclimate.DataError, match="'log' is 3"):
        load_run(copied)


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "log.txt: no such file"),
        ("folder", "log.txt: is a directory"),
        (b"", "log.txt: is empty"),
        (b"SQLite format 3\0", "log.txt: is an SQLite database"),
        (b"planted.person@example.com\n", "no usable query (nothing but personal data 1)"),
    ],
)
def test_a_log_that_is_none_is_said_before_work_begins(tmp_path, capsys, content, said, options):
    log, out = tmp_path / "log.txt", tmp_path / "run"
    if content == "folder":
        log.mkdir()
    elif content is not None:
        log.write_bytes(content)
    corpus = str(write_corpus(tmp_path / "nature.jsonl"))
    assert main(["adapt", corpus, "--out", str(out), "--log", str(log), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "planted" not in error
    assert "Traceback" not in error
    assert not out.exists() or not list(out.glob("[!.]*"))


def test_a_log_of_one_query_is_enough(run_adapt, tmp_path):
    (tmp_path / "log.txt").write_text("lava\n")
    assert "generate" in acclimate.plan(
        write_corpus(tmp_path / "nature.jsonl"), out=tmp_path / "run", log=tmp_path / "log.txt", sample={"n_docs": 30}
    )
