"""`acclimate update`: documents that came, changed and went, in a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acclimate

Ids = Annotated[Path | None, Parameter(metavar="FILE")]


def update(run_dir: Path, newdocs: str | None = None, *, remove: Ids = None, all: bool = False) -> None:
    """Search documents that are new or changed, and no longer those that are gone. Nothing is trained.

    Documents are told apart by their ids: one that the run does not have is added, one whose title or text is another
    takes the place of what was there, one that is as it was costs nothing. What was measured stays as it is in the
    report, which says how many documents came and went since. A killed command leaves the run as it was.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    newdocs
        Documents that are new or changed, in any form that `acclimate adapt` takes; others among them do no harm.
    remove
        A file of ids of documents to remove, one a line.
    all
        These are all documents: remove those of the run that are not among them.
    """
    print(acclimate.open(run_dir).update(newdocs, remove=remove, all=all))
