"""What a stage is made from covers all that it reads: each setting, and each note of an earlier stage."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chain import STAGES, contents, fake_answers

from acclimate.base.digests import fingerprint
from acclimate.corpus.judged_queries import NOTHING_JUDGED
from acclimate.corpus.query_log import LoggedQuery, QueryLog
from acclimate.records import Qrel, Query
from acclimate.run.output import StageOutput
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.workspace import Workspace
from acclimate.stages import judge
from acclimate.stages.chain import chain
from acclimate.stages.runs import open_run, resume_run

pytestmark = pytest.mark.usefixtures("fake_llm")

Setting = tuple[str, str]


class Table(dict[str, Any]):
    """The settings of a stage, or its notes; which of them are read while a stage is at work is written down."""

    at_work = ""
    reads: dict[str, set[Setting]]

    def __init__(self, stage: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.stage = stage

    def __getitem__(self, key: str) -> Any:
        if Table.at_work and Table.at_work != self.stage:
            Table.reads[Table.at_work].add((self.stage, key))
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self.keys() else default


class Noted(Table):
    """The notes of a stage."""

    reads: dict[str, set[Setting]]

    def __getitem__(self, key: str) -> Any:
        if Table.at_work:
            Noted.reads[Table.at_work].add((self.stage, key))
        return dict.__getitem__(self, key)


class Recorded(Workspace):
    """A workspace whose stages' reads are written down while they are at work."""

    def make(self, stage, run, **options) -> StageOutput:
        def work(folder, progress):
            Table.at_work = stage
            try:
                return run(folder, progress)
            finally:
                Table.at_work = ""

        output = super().make(stage, work, **options)
        notes = Noted(stage, output.manifest["notes"])
        return StageOutput(output.folder, {**output.manifest, "notes": notes}, output.resumed)


class Asked(Workspace):
    """A workspace that makes nothing: it writes down what each stage would be made from."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.recipes: dict[str, str] = {}

    def make(self, stage, run, *, settings, inputs, seed, **_) -> StageOutput:
        self.recipes[stage] = fingerprint(dict(settings), dict(inputs), seed)
        manifest = self.manifest(stage)
        assert manifest is not None
        return StageOutput(self.folder / stage, manifest, resumed=True)


def recipes(folder: Path, changes: dict[Setting, Any]) -> dict[str, str]:
    """Stage -> what it would be made from, with some settings changed."""
    run = resume_run(folder)
    run.workspace = asked = Asked(folder)
    for (stage, name), value in changes.items():
        run.settings[stage] = {**run.settings[stage], name: value}
    assert [output.name for output in chain(run)] == list(STAGES)
    return asked.recipes


@pytest.fixture(scope="module")
def reads(finished, tmp_path_factory) -> dict[str, tuple[set[Setting], set[Setting]]]:
    """Stage -> the settings of other stages that it read when it was made, and the notes."""
    found = {}
    folder = tmp_path_factory.mktemp("reads") / "run"
    shutil.copytree(finished, folder)
    whole = contents(finished)
    for stage in STAGES:
        run, _ = open_run(folder, "evaluate")
        shutil.rmtree(folder / stage)
        for name in ("scores.sqlite", "completions.sqlite", "candidates.sqlite"):
            for path in folder.glob(f"{name}*"):
                path.unlink()
        settings: dict[str, set[Setting]] = {stage: set()}
        notes: dict[str, set[Setting]] = {stage: set()}
        Table.reads, Noted.reads = settings, notes
        run = Run(
            Recorded(folder), {name: Table(name, values) for name, values in run.settings.items()}, 0, run.input.source
        )
        with fake_answers():
            outputs = list(itertools.islice(chain(run), STAGES.index(stage) + 1))
        assert [output.name for output in outputs if not output.resumed] == [stage]
        found[stage] = (settings[stage], notes[stage])
    again = contents(folder)
    assert [name for name in whole if whole[name] != again[name] and "/" in name] == []
    return found


def test_the_recording_records(reads):
    assert ("train", "max_tokens") in reads["evaluate"][0]
    assert ("index", "max_tokens") in reads["distill"][0]
    assert ("train", "rerankers") in reads["label"][1]
    assert reads["sample"] == (set(), set())


def other(value: Any) -> Any:
    """Another value of that kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return (*value, "another") if isinstance(value, tuple) else f"{value or ''}x"


def test_each_setting_makes_exactly_what_reads_it_again(reads, finished):
    """The stage itself, and each whose work read it; what a stage is made from is asked for, and nothing is made."""
    before, settings = recipes(finished, {}), resume_run(finished).settings
    elsewhere = finished.parent / "elsewhere"
    if not elsewhere.exists():
        shutil.copytree(settings["distill"]["base"], elsewhere)
        (elsewhere / "more.txt").write_text("another model")
    special = {
        "llm": "openai:another@http://127.0.0.1:9/v1",
        "base": str(elsewhere),
        "reranker": str(elsewhere),
        "prompt": ("question",),
        "judge": "umbrela",
        "examples": None,
        "student": ("static",),
        "teachers": ("dense",),
        "language": "de",
        "false_negatives": "drop",
        "retriever": "bm25",
    }
    wrong: dict[str, tuple[set[str], set[str]]] = {}
    for stage in STAGES:
        for name, value in settings[stage].items():
            changed = special.get(name, other(value))
            if changed is None or changed == value:
                continue
            wanted = {stage} | {reader for reader in STAGES if (stage, name) in reads[reader][0]}
            if name in ("passage_words", "passage_overlap"):
                continue  # these change the documents: tests/test_passage_runs.py
            if name == "exact_up_to":
                continue  # one that is as far from the number of documents changes nothing: tests/test_approximate.py
            after = recipes(finished, {(stage, name): changed})
            again = {one for one in STAGES if after[one] != before[one]}
            if again != wanted:
                wrong[f"{stage}.{name}"] = again, wanted
    assert wrong == {}


def test_each_note_that_is_read_is_an_input(reads, finished):
    """A stage whose notes differ while its files do not is another input to whoever reads these notes."""
    before = recipes(finished, {})
    manifest = Workspace.manifest
    for stage in STAGES:
        for name in {name for _, notes in reads.values() for noted, name in notes if noted == stage}:
            wanted = {reader for reader in STAGES if (stage, name) in reads[reader][1]}

            def changed(self, of: str, stage=stage, name=name) -> dict[str, Any] | None:
                found = manifest(self, of)
                assert found is not None
                return {**found, "notes": {**found["notes"], name: ["changed"]}} if of == stage else found

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Workspace, "manifest", changed)
                after = recipes(finished, {})
            assert {one for one in STAGES if after[one] != before[one]} >= wanted, f"{stage}: {name}"


def test_the_output_of_a_stage_is_an_input_of_each_that_is_given_it(finished, monkeypatch):
    makes = {stage: import_module(f"acclimate.stages.{stage}").make.__annotations__ for stage in STAGES}
    changed, made = "", set()
    monkeypatch.setattr(StageOutput, "fingerprint", property(lambda self: self.name == changed))
    before = recipes(finished, {})
    for changed in STAGES:  # the property reads it
        made |= {(changed, stage) for stage, recipe in recipes(finished, {}).items() if recipe != before[stage]}
    given = {stage: {kind.removesuffix(" | None") for kind in [*makes[stage].values()][:-1]} for stage in STAGES}
    wanted = {(of, stage) for of in STAGES for stage in STAGES if makes[of]["return"] in given[stage]}
    assert wanted ^ made == {("index", "sample"), ("sample", "generate"), ("mine", "distill")}  # not read in this run


def test_what_reads_all_documents_has_them_as_an_input(finished):
    _, outputs = open_run(finished, "evaluate")
    named = {stage for stage, output in outputs.items() if DOCUMENTS in output.manifest["inputs"]}
    assert named == set(STAGES) - {"generate"}  # which reads those that were drawn


LLM, WEIGHTS, NAMED = (
    f"acclimate.{name}"
    for name in ("llm.fingerprint_of", "base.models.weights_fingerprint", "search.scorers.named.fingerprint_of")
)


LABELS = "acclimate.corpus.judged_queries.Labels"


@pytest.mark.parametrize(
    ("content", "changes", "wanted"),
    [
        (LLM, {}, {"generate"}),
        (LLM, {("filter", "filters"): ("judge",)}, {"generate", "filter"}),
        (WEIGHTS, {}, {"index", "generate"}),
        (WEIGHTS, {("filter", "filters"): ("consistency",)}, {"index", "generate", "filter"}),
        (NAMED, {}, {"train"}),
        (NAMED, {("filter", "reranker"): "BASE"}, {"filter", "train"}),
        (NAMED, {("label", "teachers"): ("cross-encoder:BASE",)}, {"label", "train"}),
        (NAMED, {("evaluate", "systems"): ("bm25+cross-encoder:BASE@5=1",)}, {"evaluate", "train"}),
        (f"{LABELS}.measuring", {}, {"evaluate"}),
        (f"{LABELS}.choosing", {("distill", "tune"): ("epochs:1",)}, {"label", "distill", "evaluate"}),
        ("acclimate.stages.mine.sha256", {("mine", "retriever"): "RUN"}, {"mine"}),
        ("acclimate.stages.evaluate.sha256", {}, {"evaluate"}),
    ],
)
def test_what_a_stage_reads_from_elsewhere_is_an_input_by_its_content(content, changes, wanted, finished, monkeypatch):
    base, hits = resume_run(finished).settings["distill"]["base"], finished / "evaluate" / "runs" / "bm25.trec"

    def placed(value: Any) -> Any:
        return (
            tuple(map(placed, value))
            if isinstance(value, tuple)
            else value.replace("BASE", base).replace("RUN", str(hits))
        )

    monkeypatch.setattr("acclimate.run.input.Input.first_stage", hits)
    changes = {setting: placed(value) for setting, value in changes.items()}
    before = recipes(finished, changes)
    others = replace(NOTHING_JUDGED, qrels=[Qrel("q", "d", 1)])
    monkeypatch.setattr(content, others if LABELS in content else lambda *_: "changed")
    after = recipes(finished, changes)
    assert {stage for stage in STAGES if after[stage] != before[stage]} == wanted


def test_a_log_is_an_input_of_what_reads_it_and_so_is_what_is_judged(finished, monkeypatch):
    made = [recipes(finished, {})]
    for text in ("how hot is lava", "which bird keeps eggs on its feet"):
        monkeypatch.setattr("acclimate.run.input.Input.log", QueryLog([LoggedQuery("1", text, 1)]))
        made.append(recipes(finished, {}))
    monkeypatch.setattr(f"{LABELS}.measuring", replace(NOTHING_JUDGED, qrels=[Qrel("q", "d", 1)]))
    made.append(recipes(finished, {}))
    changed = [{stage for stage in STAGES if one[stage] != other[stage]} for one, other in itertools.pairwise(made)]
    assert changed == [{"steer", "label"}, {"steer", "label"}, {"label", "evaluate"}]


def test_a_judgment_is_of_its_queries_people_llm_prompt_and_measurement(monkeypatch):
    made: list[dict[str, str]] = []
    monkeypatch.setattr("acclimate.llm.fingerprint_of", lambda llm: llm)

    def ask(*, kind="log", text="text", grades=(("q", 1),), llm="fake", prompt="grade", measured="evaluate"):
        def make(*_, inputs, **__):
            made.append(inputs)
            return StageOutput(Path(), {}, resumed=True)

        run: Any = SimpleNamespace(workspace=SimpleNamespace(make=make), seed=0)
        outputs: Any = {"evaluate": SimpleNamespace(fingerprint=measured)}
        people = [Qrel(query_id, "d", grade) for query_id, grade in grades]
        judge.make(
            run, outputs, judge.JudgeQueries(kind, [Query("q", text)], 1, people), {"llm": llm, "prompt": prompt}
        )

    ask()
    ask(grades=(("q", 1), ("not asked", 1)))
    assert made[0] == made[1]
    for changed in ("kind", "text", "llm", "measured"):
        ask(**{changed: "another"})
    ask(prompt="relevance")
    ask(grades=(("q", 2),))
    assert len({fingerprint(inputs) for inputs in made}) == 7
