"""Looking at synthetic queries: numbers that mean what they say, and a page that strangers' texts cannot take over."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chain import tiny_models

import acclimate.llm
from acclimate.base.testing import DOCS, FakeLLM
from acclimate.base.text import command
from acclimate.cli.main import main
from acclimate.records import Completion
from acclimate.run import manifests
from acclimate.run.recipes import load_recipe
from acclimate.run.run import Run
from acclimate.run.settings import resolve
from acclimate.run.workspace import Workspace
from acclimate.stages.chain import STAGES, adapt

HOSTILE = """<script>alert('volcano')</script>"><img src=x onerror=alert(1)>"""


class Rude(FakeLLM):
    """The fake, which writes what is hostile, empty or no query for some documents."""

    def _answer(self, prompt: str) -> Completion:
        answer = super()._answer(prompt)
        document = prompt.rpartition("Document:")[2]
        if "Molten" in document:
            return answer._replace(text=f" why does lava erupt {HOSTILE}")
        if "moon" in document:
            return answer._replace(text=" ")
        if "compressed snow" in document:
            return answer._replace(text=f" {HOSTILE} " * 30)
        return answer


@pytest.fixture(scope="module")
def runs(tiny_encoder, tmp_path_factory) -> Path:
    """A run that is generated, and one that is filtered as well."""
    folder = tmp_path_factory.mktemp("inspect")
    docs = [doc._replace(title=f"{doc.title} {HOSTILE}", text=f"{doc.text} {HOSTILE}") for doc in DOCS]
    lines = [json.dumps({"_id": doc.doc_id, "title": doc.title, "text": doc.text}) + "\n" for doc in docs]
    (folder / "corpus.jsonl").write_text("".join(lines))
    small = "sample.n_docs=36 sample.min_chars=40 index.max_tokens=48 generate.max_doc_tokens=30 filter.keep_top_k=25"
    settings = resolve(STAGES, load_recipe("quick"), [*small.split(), *tiny_models(tiny_encoder)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acclimate.llm, "load", lambda name, **_: Rude())
        for name, stage in (("generated", "generate"), ("filtered", "filter")):
            adapt(Run(Workspace(folder / name), settings, 0, str(folder / "corpus.jsonl")), until=stage)
    return folder


@pytest.fixture
def run(runs, tmp_path) -> Path:
    shutil.copytree(runs / "filtered", tmp_path / "run")
    return tmp_path / "run"


class Page(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sample(self) -> list[dict[str, str | None]]:
        return [attributes for attributes in self.named("li") if "data-state" in attributes]


def inspected(run: Path, *options: str) -> Page:
    assert main(["inspect", str(run), *options]) == 0
    return Page((run / "queries.html").read_text())


def stages_of(run: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "queries.html"}


def test_it_prints_statistics_and_reasons_and_writes_a_page(run, capsys):
    before = stages_of(run)
    assert main(["inspect", str(run)]) == 0
    shown, said = capsys.readouterr()
    queries = (run / "generate" / "queries.jsonl").read_text().count("\n")
    rejects = (run / "generate" / "rejects.jsonl").read_text().count("\n")
    kept = (run / "filter" / "queries.jsonl").read_text().count("\n")
    assert said == ""
    assert f"{queries + rejects} answers, {queries} queries, {kept} kept" in shown
    assert kept < queries
    for prompt in ("question", "keyword", "claim"):
        assert prompt in shown
    for line in (run / "generate" / "rejects.jsonl").read_text().splitlines():
        assert json.loads(line)["reason"] in shown
    assert "logprob " in shown
    assert shown.endswith(f"Page: {run / 'queries.html'}\n")
    assert max(map(len, shown.splitlines()[:-1])) <= 100
    assert stages_of(run) == before, "looking changes nothing"


def test_nothing_of_a_stranger_becomes_part_of_the_page(run):
    page = inspected(run, "--sample", "100")
    assert len(page.named("script")) == 1
    assert page.named("img") == []
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count("<script>alert('volcano')</script>") > len(page.sample), "shown as it was written"
    assert not [
        value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")
    ]


def test_the_page_lets_only_its_own_script_run(run):
    inspected(run)
    html = (run / "queries.html").read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in html


def test_the_page_can_be_read_without_its_script(run):
    page = inspected(run)
    assert page.sample
    hidden = [tag for tag, attributes in page.elements if "hidden" in attributes]
    assert hidden == ["form"], "only what needs the script waits for it"


def test_the_same_run_gives_the_same_bytes(run):
    inspected(run, "--sample", "7")
    first = (run / "queries.html").read_bytes()
    inspected(run, "--sample", "7")
    assert (run / "queries.html").read_bytes() == first
    inspected(run, "--sample", "7", "--seed", "1")
    assert (run / "queries.html").read_bytes() != first


def test_a_sample_has_so_many_and_no_more(run):
    assert len(inspected(run, "--sample", "5").sample) == 5
    assert len(inspected(run, "--sample", "0").sample) == 0
    states = {one["data-state"] for one in inspected(run, "--sample", "1000").sample}
    assert states == {"kept", "dropped", "no query"}


def test_the_sample_can_be_of_one_prompt_or_one_reason(run):
    assert {one["data-prompt"] for one in inspected(run, "--prompt", "keyword").sample} == {"keyword"}
    page = inspected(run, "--reason", "logprob")
    assert {one["data-state"] for one in page.sample} == {"dropped"}
    assert "reason logprob" in page.text


def test_it_needs_no_filter(runs, tmp_path, capsys):
    shutil.copytree(runs / "generated", tmp_path / "run")
    page = inspected(tmp_path / "run")
    assert {one["data-state"] for one in page.sample} == {"query", "no query"}
    assert "Not filtered yet" in page.text
    assert "Not filtered yet" in capsys.readouterr().out


def test_scores_of_queries_that_were_generated_before_are_not_shown(run):
    manifest = manifests.read(run / "filter")
    assert manifest
    manifests.write(run / "filter", manifest | {"inputs": manifest["inputs"] | {"generate": "another"}})
    assert "Not filtered yet" in inspected(run).text


def test_every_column_of_numbers_is_shown(run):
    path = run / "filter" / "scores.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    chance = random.Random(0)
    extra = {"note": "no number", "flag": True, "nothing": None}
    rows = [row | {"<b>teacher": chance.random(), "huge": math.nan} | extra for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = manifests.read(run / "filter")
    assert manifest
    manifests.write(run / "filter", manifest | {"outputs": manifests.outputs(run / "filter")})
    page = inspected(run)
    labels = {str(attributes["aria-label"]).rpartition(", ")[0] for attributes in page.named("svg")}
    assert labels == {"overlap", "logprob", "rank", "<b>teacher"}


def test_an_llm_that_wrote_no_query_can_be_looked_at(runs, tmp_path, monkeypatch):
    class Silent(FakeLLM):
        def _answer(self, prompt: str) -> Completion:
            return Completion("", (), 1, 0, "stop")

    run = tmp_path / "run"
    shutil.copytree(runs / "generated", run)
    (run / "completions.sqlite").unlink()
    monkeypatch.setattr(acclimate.llm, "load", lambda name, **_: Silent())
    assert main(["generate", str(run), "--max-doc-tokens", "29"]) == 2
    page = inspected(run)
    assert "36 answers, 0 queries" in page.text
    assert {one["data-state"] for one in page.sample} == {"no query"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--prompt", "keywords"], "Did you mean 'keyword'?"),
        (["--reason", "bad"], "no reason named 'bad'"),
        (["--sample", "-1"], "expected a whole number: 0 to"),
    ],
)
def test_what_there_is_not_is_said(options, expected, run, capsys):
    assert main(["inspect", str(run), *options]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert not (run / "queries.html").exists()


def test_a_folder_without_queries_is_said(runs, tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "none")]) == 2
    assert "no run here" in capsys.readouterr().err
    shutil.copytree(runs / "generated", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "generate")
    assert main(["inspect", str(tmp_path / "run")]) == 2
    assert command("generate", tmp_path / "run") in capsys.readouterr().err
