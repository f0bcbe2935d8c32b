"""Measure how adapting changed search on another collection."""

from __future__ import annotations

from acclimate.base.arguments import StrPath, path_text, run_folder
from acclimate.base.content import Content
from acclimate.base.progress import Shown, shown
from acclimate.report import assemble
from acclimate.report.forgetting import sentences
from acclimate.stages import forgetting as stage
from acclimate.stages.runs import open_run


class Forgetting(Content):
    """What each adapted retriever lost or gained on another collection, as a mapping.

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
    """Measure what a run's adapted retrievers lost or gained on a labelled collection outside of it.

    The collection is indexed in `folder`/forgetting, with the untouched base and with each student, and both are
    measured on its labelled queries; the report is rewritten. collection: as for `adapt`, with judged queries. Raises
    DataError if it has none, SettingError for a run that adapted no retriever.

    >>> print(acclimate.forgetting("run", "beir/scifact"))  # doctest: +SKIP
    Outside this corpus, on scifact (300 labelled queries, 5,183 documents), dense:adapted got worse: nDCG@10 ...
    """
    run, outputs = open_run(run_folder(folder), "evaluate")
    with run.workspace.lock(), shown(progress):
        forgotten = stage.make(run, outputs, path_text(collection, "collection"))
        assemble.write(run, outputs)
    return Forgetting(forgotten.measured)
