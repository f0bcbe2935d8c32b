"""What adapting cost on another collection."""

from __future__ import annotations

from os import fspath
from pathlib import Path

from acclimate.base.content import Content
from acclimate.base.progress import Shown, shown
from acclimate.report import assemble
from acclimate.report.forgetting import sentences
from acclimate.run.given import StrPath
from acclimate.stages import forgetting as stage
from acclimate.stages.runs import opened


class Forgetting(Content):
    """What each adapted retriever lost, or gained, on a collection: a mapping with what was measured.

    `print` shows it as the command line does.

    >>> forgetting = acclimate.forgetting("run", "other", progress=None)  # doctest: +SKIP
    >>> forgetting["systems"][0]["verdict"]  # doctest: +SKIP
    'NO DIFFERENCE'
    """

    def __repr__(self) -> str:
        return f"<Forgetting on {self['collection']!r}>"

    def __str__(self) -> str:
        return "\n".join(sentences(self))


def forgetting(folder: StrPath, collection: StrPath, *, progress: Shown = "auto") -> Forgetting:
    """What the retrievers that a run adapted lost, or gained, on a labelled collection outside of it.

    The collection is indexed in `folder`/forgetting, with the untouched base and with each student, and both are
    measured on its labelled queries; the report is written anew. collection: as `adapt` takes it, with judged queries.
    Raises DataError for a collection without any, SettingError for a run that adapted no retriever.

    >>> print(acclimate.forgetting("run", "beir/scifact"))  # doctest: +SKIP
    Outside, on scifact (300 labelled queries, 5,183 documents), dense:adapted forgot something: ...
    """
    run, outputs = opened(Path(folder), "evaluate")
    with run.workspace.lock(), shown(progress):
        forgotten = stage.make(run, outputs, fspath(collection))
        assemble.write(run, outputs)
    return Forgetting(forgotten.measured)
