"""Runs of earlier versions, whose hybrid had weights chosen on held-out queries, still open and search."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from chain import made_again, report_of, write_corpus

import acclimate
from acclimate.base.digests import fingerprint
from acclimate.base.text import command
from acclimate.cli.main import main
from acclimate.deploy.serving.loaded import LoadedRun
from acclimate.records import Doc
from acclimate.run import manifests

pytestmark = pytest.mark.usefixtures("fake_llm")
WEIGHTS = {"bm25": 0.5, "dense": 0.25, "late-interaction": 0.25}
LATER = ("hybrid:equal", "hybrid:tuned")


def rewritten(path: Path, change) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def as_before(content) -> None:
    """A report as it was before there were steps."""
    del content["steps"]
    content |= {"candidate": "hybrid:adapted", "baseline": "hybrid", "recommended": "hybrid"}
    content["systems"] = [
        {key: value for key, value in row.items() if key != "untouched"}
        for row in content["systems"]
        if row["name"] not in LATER
    ]
    content["comparisons"] = [row for row in content["comparisons"] if not {row["system"], row["baseline"]} & {*LATER}]


@pytest.fixture
def earlier(copied) -> Path:
    """A run as an earlier version left it."""
    evaluated = copied / "evaluate"
    rewritten(copied / "report.json", as_before)
    rewritten(evaluated / "measured.json", as_before)

    def weighed(content):
        content["weights"] = {name: of for name, of in content["weights"].items() if name not in LATER}
        content["weights"]["hybrid"] = WEIGHTS

    rewritten(evaluated / "chosen.json", weighed)
    manifest = json.loads((evaluated / "manifest.json").read_text(encoding="utf-8"))
    del manifest["inputs"]["hybrid"], manifest["inputs"]["steer"]
    manifest |= {"fingerprint": fingerprint("of fewer inputs"), "outputs": manifests.outputs(evaluated)}
    manifests.write(evaluated, manifest)
    shutil.rmtree(copied / "steer")
    return copied


def test_a_run_of_an_earlier_version_is_read_and_searched_as_it_was_made(earlier):
    run = acclimate.open(earlier)
    assert {row.untouched for row in run.report.systems} == {False}
    assert "the best untrained system" in " ".join(str(run.report).split())
    assert set(run.search("lava and ash", system="hybrid")[0].members) == {*WEIGHTS}
    assert run.search("lava and ash", system="hybrid+reranker")


def test_it_is_updated_and_served_with_the_report_that_it_has(earlier, tmp_path):
    before = (earlier / "report.json").read_bytes()
    assert main(["update", str(earlier), str(write_corpus(tmp_path / "new.jsonl", [Doc("z", "Zircon.")]))]) == 0
    assert acclimate.open(earlier).search("zircon")[0].document_id == "z"
    assert (earlier / "report.json").read_bytes() == before
    assert LoadedRun(earlier).queries_to_judge == []


@pytest.mark.parametrize("words", [["export", "sqlite"], ["judge"]])
def test_what_needs_the_queries_of_this_version_says_what_to_type(earlier, capsys, words):
    name, *others = words
    assert main([name, str(earlier), *others]) == 2
    assert command("evaluate", earlier) in capsys.readouterr().err


def test_a_run_that_has_settings_which_are_gone_is_read_and_goes_on(copied):
    def aged(content):
        content["settings"]["label"]["trust"] = 0.5
        del content["settings"]["steer"]

    rewritten(copied / "run.json", aged)
    assert acclimate.open(copied).search("lava and ash")
    assert main(["report", str(copied)]) == 0
    assert main(["evaluate", str(copied)]) == 0
    assert made_again(copied) == []
    assert "trust" not in json.loads((copied / "run.json").read_text(encoding="utf-8"))["settings"]["label"]


def test_its_report_says_what_to_type_and_that_measures_it_anew(earlier, capsys):
    assert main(["report", str(earlier)]) == 2
    said = capsys.readouterr().err
    assert command("evaluate", earlier) in said
    assert main(["evaluate", str(earlier)]) == 0
    assert made_again(earlier) == ["steer", "evaluate"]
    report = report_of(earlier)
    assert report["steps"]
    assert set(acclimate.open(earlier).search("lava and ash", system="hybrid")[0].members) == {"bm25", "dense"}
