"""The checkpoints of a training in progress: begun, resumed from, removed when it is done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from acclimate.base.files import read_state, write_json
from acclimate.base.gpu import free_memory

CHECKPOINTS = "checkpoints"  # folder beside the rerankers
_KEY = "begun.json"


def begin(checkpoints: Path, key: str) -> str | None:
    """Create the checkpoint folder of this training; returns its last checkpoint, if any."""
    if checkpoints.exists() and not read_state(checkpoints / _KEY, key):
        shutil.rmtree(checkpoints)
    write_json(checkpoints / _KEY, {"key": key})
    return _last_whole(checkpoints)


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints in `folder` at once: if interrupted half-way, the best might be missing."""
    checkpoints, leaving = folder / CHECKPOINTS, folder / f"{CHECKPOINTS}-done"
    free_memory()  # with weights that are still mapped: NFS and FUSE keep files in use, and their folder
    shutil.rmtree(leaving, ignore_errors=True)
    if checkpoints.exists():
        shutil.rmtree(checkpoints.rename(leaving))


def _last_whole(checkpoints: Path) -> str | None:
    """The last complete checkpoint; a later, incomplete one is removed."""
    latest_first = sorted(checkpoints.glob("checkpoint-*"), key=lambda path: -int(path.name.rpartition("-")[2]))
    for path in latest_first:
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))  # written last
            return str(path)
        except (OSError, ValueError):
            shutil.rmtree(path)
    return None
