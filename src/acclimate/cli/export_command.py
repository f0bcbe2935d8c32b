"""`acclimate export`: a finished run for the engines that people run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acclimate
from acclimate.cli.options import Folder, Name

Url = Annotated[str | None, Parameter(metavar="URL")]


def export(run_dir: Path, format: str, *, out: Folder | None = None, system: Name = None, url: Url = None) -> None:
    """Write the system that a run recommends, or another of it, for an engine that you run; see docs/exports.md.

    A killed command goes on where it was; where the same export is there already, nothing is done.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    format
        pgvector, sqlite and so on; an unknown one says which there are.
    out
        A folder for it, new or empty; by default exports/FORMAT in RUN-DIR.
    system
        Another system of the run, by name.
    url
        A server to load it into.
    """
    print(acclimate.open(run_dir).export(format, out, system=system, url=url))
