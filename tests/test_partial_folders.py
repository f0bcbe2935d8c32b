"""Folders: whole or not at all, and nothing temporary stays or takes along what is elsewhere."""

from __future__ import annotations

import pytest

from acclimate.base import files


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
