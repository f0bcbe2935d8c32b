"""Whatever becomes of a run's files: a result, or one line that names the file. Never a traceback."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from chain import STAGES, contents, made_again, write_corpus

import acclimate
from acclimate.base.errors import DataError
from acclimate.base.files import write_json
from acclimate.base.text import command
from acclimate.cli.main import main
from acclimate.records import Doc
from acclimate.run.updated import LastUpdate

pytestmark = pytest.mark.usefixtures("fake_llm")

SEED = 20
READERS = (["search", "lava", "-k", "1"], ["report"], ["inspect", "--sample", "1"])
DAMAGES: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "gone": lambda data, draws: None,
    "truncated": lambda data, draws: data[: draws.randrange(len(data) or 1)],
    "empty": lambda data, draws: b"",
    "zeros": lambda data, draws: bytes(len(data)),
    "garbage": lambda data, draws: draws.randbytes(len(data)),
    "a byte": lambda data, draws: _flipped(data, draws.randrange(len(data) or 1)),
    "longer": lambda data, draws: data + draws.randbytes(100),
    "a list": lambda data, draws: b"[]",
    "null": lambda data, draws: b"null\n",
    "a number": lambda data, draws: b"1" * 5000,
    "deep": lambda data, draws: b"[" * 100_000,
    "without its keys": lambda data, draws: b"{}",
}


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :] if data else b"x"


def damage(path: Path, kind: str) -> None:
    content = DAMAGES[kind](path.read_bytes(), random.Random(f"{SEED}:{path.name}:{kind}"))
    path.unlink() if content is None else path.write_bytes(content)


def told(capsys, command: list[str], run: Path) -> tuple[int, str]:
    """Exit code, and the error where there is one: a line that has a path of the run and what to do."""
    name, *options = command
    code = main([name, str(run), *options])
    said = capsys.readouterr().err
    assert code in (0, 2)
    if code:
        assert said.splitlines()[-1].startswith(f"acclimate: {run}")
        assert "acclimate " in said or "remove it" in said
    return code, said


@pytest.fixture
def run(finished, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.slow
def test_a_damaged_file_of_a_finished_run_is_named_or_is_none_that_is_read(run, tmp_path, capsys):
    """Each file, also those of an update, in two ways; whole again, everything is as it was."""
    acclimate.open(run).update(write_corpus(tmp_path / "new.jsonl", [Doc("moss", "Moss on old lava")]))
    draws, outcomes = random.Random(SEED), set()
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        kept = path.with_name(f"{path.name}.kept")
        for kind in draws.sample(list(DAMAGES), 2):
            shutil.copy2(path, kept)
            damage(path, kind)
            is_searched = run / "updated" in path.parents and path.name != "manifest.json"
            code, said = told(capsys, READERS[0] if is_searched else draws.choice(READERS), run)
            if is_searched:
                assert (code, str(path) in said) == (2, True), (path, kind)
            if path.parent.name in STAGES and code:
                assert str(path) in said or path.name == "manifest.json", (path, kind)
            outcomes.add(code)
            kept.replace(path)
    assert outcomes == {0, 2}
    assert all(told(capsys, command, run)[0] == 0 for command in READERS)


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_run_that_is_not_described_any_more_is_told_and_described_again(kind, run, corpus, run_adapt, capsys):
    damage(run / "run.json", kind)
    for words in (*READERS, ["mine"], ["curve"]):
        code, said = told(capsys, words, run)
        assert code == 0 if kind == "longer" and not said else code in (0, 2)
        if code:
            assert command("adapt", "CORPUS", "--out", run) in said
    assert run_adapt(corpus, run) == 0
    assert made_again(run) == []
    assert told(capsys, READERS[0], run)[0] == 0


def test_a_damaged_run_is_mended_by_the_command_that_began_it(finished, run, corpus, run_adapt, capsys):
    draws, whole = random.Random(SEED), contents(finished)
    for stage in draws.sample(STAGES, 5):
        paths = sorted(path for path in (run / stage).rglob("*") if path.is_file() and path.stat().st_size)
        damage(draws.choice(paths), draws.choice(list(DAMAGES)))
        damage(next((run / "corpus").glob("*.arrow")), draws.choice(list(DAMAGES)))
        assert run_adapt(corpus, run) == 0
        assert made_again(run) == [stage]
        assert contents(run) == whole


def test_stages_that_are_looked_up_before_work_begins_are_mended_too(run, corpus, run_adapt):
    looked_up = ["index", "train"]
    for stage in looked_up:
        damage(run / stage / "manifest.json", "garbage")
    assert run_adapt(corpus, run) == 0
    assert sorted(made_again(run)) == looked_up


@pytest.mark.parametrize(
    ("name", "stage"), [("completions.sqlite", "generate"), ("candidates.sqlite", "mine"), ("scores.sqlite", "label")]
)
def test_a_damaged_database_is_told_and_once_it_is_removed_asked_for_again(
    name,
    stage,
    finished,
    run,
    corpus,
    run_adapt,
    capsys,
):
    for kind in ("truncated", "zeros", "garbage"):
        shutil.rmtree(run / stage)
        damage(run / name, kind)
        assert run_adapt(corpus, run) == 2
        assert f"{run / name}: " in (said := capsys.readouterr().err)
        assert "remove it" in said
        (run / name).unlink()
        assert run_adapt(corpus, run) == 0
        assert contents(run)[f"{stage}/manifest.json"] == contents(finished)[f"{stage}/manifest.json"]


# Disks


@pytest.mark.parametrize(
    "change",
    [{"seed": -1}, {"seed": 10**30}, {"recipe": "\ud800"}, {"settings": {"label": []}}, {"settings": {"x": 1}}],
)
def test_a_run_that_is_described_by_values_that_it_cannot_have_is_told(change, run, capsys):
    described = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**described, **change}))
    for words in (["report"], ["mine"]):
        code, said = told(capsys, words, run)
        assert code == 2
        assert command("adapt", "CORPUS", "--out", run) in said


@pytest.mark.parametrize("name", ["completions.sqlite", "corpus", "report.json"])
def test_what_is_of_another_kind_than_it_should_be_is_named(name, run, corpus, run_adapt, capsys):
    is_folder = (run / name).is_dir()
    shutil.rmtree(run / name) if is_folder else (run / name).unlink()
    (run / name).write_text("x") if is_folder else (run / name).mkdir()
    assert run_adapt(corpus, run) == 2
    assert f"acclimate: {run / name}: " in capsys.readouterr().err.splitlines()[-1]


def test_an_update_that_nobody_wrote_is_told_whatever_it_says(tmp_path):
    def read(facts: object) -> LastUpdate | None:
        write_json(tmp_path / "updated" / "manifest.json", facts)
        return LastUpdate.read(tmp_path)

    (tmp_path / "updated" / "1").mkdir(parents=True)
    kept, since = {"documents": "a.arrow", "corpus": ""}, {"came": 1, "changed": 0, "went": 0}
    whole = {"folder": "1", "kept": kept, "made_of": {}, "since": since, "drifted": ["much"], "files": {}}
    update = read(whole)
    assert update is not None and update.kept == ("a.arrow", "") and len(update.warnings) == 2
    for name in whole:
        for value in (None, [], {}, "../..", 5, [5], {"a": 1}, {"documents": 5}, {"../../etc/passwd": -1}):
            if value != whole[name] and (name, value) not in [("made_of", value), ("drifted", [])]:
                with pytest.raises(DataError, match="update again with"):
                    read({**whole, name: value})
