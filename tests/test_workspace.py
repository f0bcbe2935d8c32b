"""The workspace: nothing made twice, nothing stale used, nothing half made taken for whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from functools import partial
from pathlib import Path

import pytest
from staged import Stage, make

from acclimate.base import digests
from acclimate.base.errors import AcclimateError, DataError
from acclimate.cli.shell import log_on_stderr
from acclimate.run import manifests
from acclimate.run.workspace import Workspace


@pytest.fixture(autouse=True)
def as_a_command():
    """What is said is on stderr."""
    with log_on_stderr():
        yield


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "run")


def test_a_manifest_says_how_what_and_from_what(workspace):
    made = make(workspace, Stage())
    on_disk = json.loads((workspace.folder / "filter" / "manifest.json").read_text())
    assert made.manifest == on_disk == workspace.manifest("filter")
    assert on_disk["settings"] == {"k": 3, "names": ["a", "b"]}
    assert on_disk["inputs"] == {"documents": "f00"}
    assert (on_disk["in"], on_disk["out"], on_disk["dropped"]) == (10, 7, {"short": 3, "odd": 0})
    assert sorted(on_disk["outputs"]) == ["deep/out.txt", "part.txt"]
    assert on_disk["outputs"]["deep/out.txt"]["bytes"] == len("content")
    assert {"acclimate", "python", "numpy"} <= set(on_disk["versions"])
    assert made.notes == {"n": 1}
    assert not made.resumed
    assert not (workspace.folder / "filter" / "begun.json").exists()


def test_the_same_again_is_not_made_again(workspace, capsys):
    work = Stage()
    first = make(workspace, work)
    again = make(workspace, work)
    assert work.calls == 1
    assert again.resumed
    assert again.manifest == first.manifest
    assert again.fingerprint == first.fingerprint
    assert capsys.readouterr().err.splitlines()[-1] == ("filter     made already: read 10   kept 7   dropped: short 3")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"k": 4, "names": ("a", "b")}}, "k was 3 and is 4"),
        ({"settings": {"k": 3, "names": ("a",)}}, "names was ['a', 'b'] and is ['a']"),
        ({"inputs": {"documents": "f01"}}, "documents changed"),
        ({"inputs": {"documents": "f00", "labels": "1"}}, "labels changed"),
        ({"inputs": {"labels": "1"}}, "labels changed; documents changed"),
        ({"seed": 1}, "the seed changed"),
    ],
)
def test_what_was_made_otherwise_is_made_again_and_the_reason_is_said(workspace, capsys, change, said):
    work = Stage()
    make(workspace, work)
    made = make(workspace, work, **change)
    assert (work.calls, work.found, made.resumed) == (2, [], False)
    assert f"filter     is made again: {said}\n" in capsys.readouterr().err


def test_what_another_version_made_is_made_again(workspace, capsys, monkeypatch):
    make(workspace, work := Stage())
    monkeypatch.setattr("acclimate.run.workspace.__version__", "9.9")
    assert (make(workspace, work).resumed, work.calls) == (False, 2)
    assert "filter     is made again: it was made by acclimate " in capsys.readouterr().err


def test_the_order_of_settings_and_inputs_does_not_matter(workspace):
    work = Stage()
    make(workspace, work, settings={"a": 1, "b": 2}, inputs={"c": "3", "d": "4"})
    make(workspace, work, settings={"b": 2, "a": 1}, inputs={"d": "4", "c": "3"})
    assert work.calls == 1


def test_equal_output_of_a_stage_made_again_is_the_same_input_to_the_next(workspace):
    first = make(workspace, Stage())
    assert make(workspace, Stage(), seed=1).fingerprint == first.fingerprint
    assert make(workspace, Stage("other"), seed=2).fingerprint != first.fingerprint


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RuntimeError("out of memory")])
def test_an_interrupted_stage_gets_its_folder_back(workspace, stop):
    with pytest.raises(type(stop)):
        make(workspace, Stage(stop=stop))
    assert workspace.manifest("filter") is None
    work = Stage()
    assert not make(workspace, work).resumed
    assert work.found == ["part.txt"]


def test_an_interrupted_stage_of_other_inputs_begins_with_an_empty_folder(workspace):
    with pytest.raises(KeyboardInterrupt):
        make(workspace, Stage(stop=KeyboardInterrupt()))
    work = Stage()
    make(workspace, work, seed=1)
    assert work.found == []


def test_a_finished_stage_interrupted_while_made_again_is_unfinished(workspace):
    make(workspace, Stage())
    with pytest.raises(KeyboardInterrupt):
        make(workspace, Stage(stop=KeyboardInterrupt()), seed=1)
    assert workspace.manifest("filter") is None
    work = Stage()
    make(workspace, work)  # as at first: nothing of the second attempt is in the folder
    assert work.found == []


@pytest.mark.parametrize("harm", ["truncate", "delete", "garble"])
def test_output_that_is_not_whole_is_made_again(workspace, capsys, harm):
    work = Stage()
    first = make(workspace, work)
    out = first.folder / "deep" / "out.txt"
    out.unlink() if harm == "delete" else out.write_text("con" if harm == "truncate" else "CONTENT")
    assert not make(workspace, work).resumed
    assert out.read_text() == "content"
    assert "is made again: deep/out.txt is not as it was made" in capsys.readouterr().err


def test_what_is_known_to_be_whole_is_read_again_only_once_it_is_written_to(workspace, monkeypatch):
    first = make(workspace, Stage())
    read, digest = [], digests.sha256
    monkeypatch.setattr(digests, "sha256", lambda path: (read.append(path.name), digest(path))[1])

    def check():
        read.clear()
        assert make(workspace, Stage()).resumed
        return read

    age(first.folder)
    assert check() == []
    (first.folder / "part.txt").touch()
    time.sleep(0.02)  # a tick of the file system's clock
    assert check() == ["part.txt"]
    assert check() == []


def age(folder):
    """As if the manifest had been written a while after the rest."""
    for path in folder.rglob("*.txt"):
        os.utime(path, (1e9, 1e9))


def test_an_empty_manifest_is_an_interrupted_stage(workspace, capsys):
    work = Stage()
    made = make(workspace, work)
    (made.folder / "manifest.json").write_text("")
    assert workspace.manifest("filter") is None
    assert not make(workspace, work).resumed
    assert "is made again" not in capsys.readouterr().err


@pytest.mark.parametrize("harm", ['{"fingerprint"', "[]", "null", "{}", "garbage", "notes", "\x00" * 100])
def test_a_damaged_manifest_is_told_and_never_used(workspace, capsys, harm):
    work = Stage()
    made = make(workspace, work)
    path = made.folder / "manifest.json"
    content = {key: value for key, value in made.manifest.items() if key != harm}
    path.write_text(harm if content == made.manifest else json.dumps(content))
    with pytest.raises(DataError, match=r"manifest\.json"):
        workspace.manifest("filter")
    assert not make(workspace, work).resumed
    assert "is made again: its manifest is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("seed", [0, 1])
def test_a_stage_that_keeps_what_it_finds_is_not_handed_what_is_damaged(workspace, seed):
    def again(seed):
        work = Stage()
        made = workspace.make("train", work, settings={}, inputs={}, seed=seed, keeps=True)
        return made.folder / "part.txt", work.found

    path, _ = again(0)
    assert again(2)[1] == ["deep", "part.txt"]
    path.write_text("flah")  # as long
    assert again(2 + seed)[1] == []


def test_stages_have_folders_of_their_own(workspace):
    one, other = Stage(), Stage()
    make(workspace, one, stage="filter")
    make(workspace, other, stage="mine")
    make(workspace, one, stage="filter")
    assert (one.calls, other.calls) == (1, 1)


# What is replaced


def test_what_is_replaced_stays_until_its_successor_is_finished(workspace):
    with workspace.lock():
        first = make(workspace, Stage())
    with pytest.raises(KeyboardInterrupt):
        make(workspace, Stage(stop=KeyboardInterrupt()), seed=1)
    aside = workspace.folder / ".filter.replaced"
    assert manifests.read(aside) == first.manifest
    with workspace.lock():  # the next start sweeps only what is replaced
        assert aside.exists()
    make(workspace, Stage("other"), seed=1)
    assert not aside.exists()
    assert sorted(path.name for path in workspace.folder.iterdir()) == [".lock", "filter"]


def test_a_killed_process_leaves_nothing_that_it_had_replaced_in_a_folder_below_either(workspace):
    with workspace.lock():
        for name in ("done", "begun"):
            (workspace.folder / "curve" / f".{name}.replaced" / "deep").mkdir(parents=True)
            (workspace.folder / "curve" / name).mkdir()
        (workspace.folder / "curve" / "done" / "manifest.json").write_text("{}")
    with workspace.lock():
        assert sorted(path.name for path in (workspace.folder / "curve").iterdir()) == [
            ".begun.replaced",
            "begun",
            "done",
        ]


def test_a_stage_that_was_not_replaced_after_all_is_taken_back(workspace):
    first = make(workspace, Stage())
    with pytest.raises(KeyboardInterrupt):
        make(workspace, Stage(stop=KeyboardInterrupt()), seed=1)
    again = make(workspace, Stage(stop=AssertionError()))
    assert again.resumed
    assert again.manifest == first.manifest
    assert not (workspace.folder / ".filter.replaced").exists()


def test_a_stage_that_is_part_of_a_container_s_image_is_replaced_and_taken_back(workspace, monkeypatch):
    """Overlay file systems let no folder of a lower layer be renamed; here, no folder at all."""
    first = make(workspace, Stage())

    def refusing(work, path, target, **options):
        if Path(path).is_dir():
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(path))
        work(path, target, **options)

    monkeypatch.setattr(os, "rename", partial(refusing, os.rename))
    monkeypatch.setattr(os, "replace", partial(refusing, os.replace))
    with pytest.raises(KeyboardInterrupt):
        make(workspace, Stage(stop=KeyboardInterrupt()), seed=1)
    again = make(workspace, Stage(stop=AssertionError()))
    assert (again.resumed, again.manifest) == (True, first.manifest)
    make(workspace, Stage("other"), seed=1)
    assert [path.name for path in workspace.folder.iterdir()] == ["filter"]


def test_what_a_killed_process_had_replaced_is_swept(workspace):
    with workspace.lock():
        make(workspace, Stage())
    shutil.copytree(workspace.folder / "filter", workspace.folder / ".filter.replaced")
    with workspace.lock():
        assert sorted(path.name for path in workspace.folder.iterdir()) == [".lease", ".lock", "filter"]


def test_a_stage_behind_a_link_is_made_again_and_only_the_link_is_replaced(workspace, tmp_path):
    make(workspace, Stage())
    (workspace.folder / "filter").rename(tmp_path / "elsewhere")
    (workspace.folder / "filter").symlink_to(tmp_path / "elsewhere")
    assert make(workspace, Stage()).resumed
    make(workspace, Stage("other"), seed=1)
    assert (tmp_path / "elsewhere" / "deep" / "out.txt").read_text() == "content"
    assert (workspace.folder / "filter" / "deep" / "out.txt").read_text() == "other"


@pytest.mark.parametrize("theirs", ["train/model.bin", "notes.txt", ".lock", "run.json", "completions.sqlite"])
def test_a_folder_that_holds_something_else_is_left_as_it_is(tmp_path, theirs):
    (tmp_path / theirs).parent.mkdir(exist_ok=True)
    (tmp_path / theirs).write_text("[1]")
    with pytest.raises(AcclimateError, match="is not empty, and holds no run"):
        Workspace(tmp_path).refuse_foreign()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [theirs]
    assert (tmp_path / theirs).read_text() == "[1]"


@pytest.mark.parametrize("text", ['"settings"', '{"settings": {}}', '["settings", "corpus", "recipe", "seed"]', "null"])
def test_another_program_s_run_json_makes_no_folder_a_run_s(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(AcclimateError, match="holds no run"):
        Workspace(tmp_path).refuse_foreign()
