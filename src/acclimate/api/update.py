"""Documents that came, changed and went, in a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.base.progress import Shown, shown
from acclimate.stages.runs import described

if TYPE_CHECKING:
    from acclimate.deploy.updating.update import Updated


def update(folder: Path, new: str | None, remove: str | None, *, replaces: bool, progress: Shown) -> Updated:
    """See `Run.update`. The report is written anew, and says what came and went."""
    from acclimate.deploy.updating.update import update
    from acclimate.report import assemble
    from acclimate.stages.runs import opened

    run = described(folder)
    with run.workspace.lock(), shown(progress):
        result = update(folder, new, Path(remove) if remove is not None else None, replaces=replaces)
        if any(result.changes.values()):
            assemble.write(*opened(folder, "evaluate"))
    return result
