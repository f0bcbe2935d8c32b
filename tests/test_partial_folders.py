"""Folders: whole or not at all, and nothing temporary stays or takes along what is elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from staged import Stage, make

from acclimate.base import files
from acclimate.base.errors import DataError
from acclimate.run import manifests
from acclimate.run.workspace import Workspace


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_folder_that_was_not_finished_leaves_the_old_one_and_nothing_else(error, tmp_path):
    for content in ("old", "new"):
        with files.atomic_folder(tmp_path / "in" / "model") as folder:
            (folder / content).touch()
            (folder / "both").write_text(content)

    def interrupted():
        with files.atomic_folder(tmp_path / "in" / "model") as folder:
            (folder / "part").mkdir()
            raise error

    with pytest.raises(error):
        interrupted()
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["model"]
    assert {path.name for path in (tmp_path / "in" / "model").iterdir()} == {"new", "both"}


def test_what_is_swept_is_temporary_and_not_where_links_lead(tmp_path):
    run, outside = tmp_path / "run", tmp_path / "outside"
    for path in (run / "stage" / ".a.part" / ".b.part", outside / ".c.part"):
        path.mkdir(parents=True)
    for path in (run / ".d.part", run / "stage" / "kept.part", run / ".kept", outside / "kept"):
        path.touch()
    (run / ".e.part").symlink_to(outside, target_is_directory=True)
    (run / ".f.part").symlink_to(tmp_path / "nowhere")
    (run / "linked").symlink_to(outside, target_is_directory=True)
    files.sweep(run)
    assert {str(path.relative_to(run)) for path in run.rglob("*")} == {"stage", "stage/kept.part", ".kept", "linked"}
    assert {path.name for path in outside.iterdir()} == {".c.part", "kept"}


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text(path.read_text() + "\n")])
def test_a_file_that_is_not_as_its_stage_made_it_is_refused_by_name(damage, tmp_path):
    made = make(Workspace(tmp_path / "run"), Stage())
    manifests.check(made.folder, made.manifest)
    path = made.folder / min(made.manifest["outputs"])
    damage(path)
    with pytest.raises(DataError, match=f"{path.name}: not as {made.name} made it"):
        manifests.check(made.folder, made.manifest)
