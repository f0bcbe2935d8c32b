"""A run as a Python object: its report, its search, and everything else it can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from acclimate.api.answers import Answers
from acclimate.api.page import Page
from acclimate.api.queries import as_hits, as_queries, checked_text
from acclimate.base import distributed
from acclimate.base.arguments import StrPath, path_text, run_folder
from acclimate.base.domains import SEEDS, AtLeast
from acclimate.base.errors import DataError
from acclimate.base.progress import Shown, shown
from acclimate.deploy.filters import canonical
from acclimate.deploy.latest import LatestSearchers
from acclimate.deploy.searchers import Hit
from acclimate.deploy.serving import exported_feedback
from acclimate.records import ScoredDoc
from acclimate.report.report import Report
from acclimate.run.in_memory import Documents
from acclimate.run.settings import whole_number
from acclimate.stages.runs import load_run, open_latest, open_run, outdated, reading

if TYPE_CHECKING:
    from acclimate.api.judge import JudgeOptions, Judgment
    from acclimate.api.serve import AppOptions, ServeOptions
    from acclimate.deploy.exports.export import Exported
    from acclimate.deploy.updating.update import Updated


def open(folder: StrPath) -> Run:
    """Open the run in a folder, finished or not.

    Raises DataError for a folder without a run, or with a damaged description.

    >>> acclimate.open("run")
    Run('run')
    """
    load_run(run_folder(folder))
    return Run(folder)


class Run:
    """A run in its folder, as returned by `adapt` and `open`.

    What needs a stage that is not made yet raises DataError with the command that makes it; models are loaded on first
    use. A run is also a callable from queries to scored documents. Threads may share one, which serves them in turn; it
    pickles as its folder.

    >>> run = acclimate.open("run")
    >>> run.folder.name
    'run'
    >>> run.report.verdict
    'NO DIFFERENCE'
    >>> [hit.document_id for hit in run.search("cheese whose curds are stacked and pressed", k=1)]
    ['cheddar.md']
    """

    def __init__(self, folder: StrPath) -> None:
        self.folder = run_folder(folder)
        self._searchers = LatestSearchers(self.folder)

    def __reduce__(self) -> tuple[type[Run], tuple[Path]]:
        return Run, (self.folder,)  # another process loads what it needs itself

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @cached_property
    def report(self) -> Report:
        """The content of `report.json`; displays as a page in a notebook.

        >>> acclimate.open("run").report.verdict_basis
        'synthetic'
        """
        open_run(self.folder, "evaluate")
        return Report.read(self.folder)

    def write_report(self) -> Report:
        """Rewrite report.json and report.html from the existing stages, and return the report.

        >>> acclimate.open("run").write_report().verdict
        'NO DIFFERENCE'
        """
        from acclimate.report import assemble

        run, outputs = open_run(self.folder, "evaluate")
        for line in outdated(run, outputs):
            distributed.say("report", line)
        with run.workspace.lock():
            self.report = Report(assemble.write(run, outputs), self.folder)
        return self.report

    def search(
        self, text: str, k: int = 10, system: str | None = None, filters: Mapping[str, Any] | None = None
    ) -> list[Hit]:
        """Search for at most `k` documents, best first, ties by id, with the recommended system or another.

        filters: search only documents whose fields have these values, as `{"product": "P-200", "language": ["de",
        "en"], "year": {"gte": 2020}}`; see docs/serving.md. Raises SettingError for an empty query, a `k` outside 1 to
        100,000, an unknown system or field, and invalid filters.

        >>> for hit in acclimate.open("run").search("lava and ash", k=2, system="bm25"):
        ...     print(hit.document_id, hit.doc.title)
        volcano.md Volcano
        """
        query, passing = checked_text(text), canonical({} if filters is None else filters)
        return self._searchers.ask(lambda searchers: searchers.search(query, k, system, passing))

    def excerpts(self, text: str, hits: Iterable[Hit]) -> list[str]:
        """For each hit, the part of about 200 characters of its document that shares the most words with a query.

        >>> run = acclimate.open("run")
        >>> run.excerpts("lava and ash", run.search("lava and ash", k=1, system="bm25"))
        ['Molten rock below the crust rises and erupts through an opening as lava, ash and gas.']
        """
        query, shown_hits = checked_text(text), as_hits(hits)
        return self._searchers.ask(lambda searchers: searchers.excerpts(query, shown_hits))

    def __call__(
        self, queries: Mapping[str, str] | Iterable[tuple[str, str]], k: int = 100, system: str | None = None
    ) -> list[ScoredDoc]:
        """Search for at most `k` scored documents per query, in the order of the queries, best first, ties by id.

        queries: id -> text, or (id, text) pairs such as Query; a whole number as id becomes text. If documents were
        split, each has the score of its best passage. Raises as `search` does.

        >>> acclimate.open("run")({"1": "lava and ash"}, k=1, system="bm25")[0].doc_id
        'volcano.md'
        """
        in_order = as_queries(queries)
        return self._searchers.ask(lambda searchers: searchers.scored(in_order, k, system))

    def terrier(self, k: int = 100, system: str | None = None) -> Any:
        """A PyTerrier transformer from frames with `qid` and `query` to frames with `docno`, `score`, `rank` (from 0).

        Raises MissingExtra without PyTerrier (`pip install 'acclimate[terrier]'`), and as `search` does.

        >>> search = acclimate.open("run").terrier(k=10, system="bm25")
        >>> search.search("lava and ash").docno[0]
        'volcano.md'
        """
        from acclimate.api.terrier import transformer

        self._searchers.ask(lambda searchers: searchers.checked_name(system))  # report an error here, not in a pipeline
        return transformer(self, k, system)

    def inspect(self, *, sample: int = 50, seed: int = 0, prompt: str | None = None, reason: str | None = None) -> Page:
        """Describe the synthetic queries, and the answers that were rejected and why; also written to queries.html.

        sample: number of answers to show, drawn by `seed`; optionally only those to one `prompt`, or rejected for one
        `reason`.

        >>> print(acclimate.open("run").inspect(sample=5))  # doctest: +ELLIPSIS
        40 answers, 40 queries, 40 kept ...
        """
        from acclimate.report.queries import inspection, page

        sample = whole_number(sample, "sample", AtLeast(0))
        seed = whole_number(seed, "seed", SEEDS)
        run, outputs = open_run(self.folder, "generate")
        with reading(run, outputs):
            answers = inspection.inspect(run, sample=sample, seed=seed, prompt=prompt, reason=reason)
        return Page(inspection.text(answers), page.write(answers, self.folder))

    def curve(
        self, *, queries: Sequence[int] | None = None, lists: Sequence[int] | None = None, progress: Shown = "auto"
    ) -> Page:
        """Measure how search improves with more synthetic queries and more labelled lists; curve.json has the figures.

        Trains anew on parts of what the run has, and keeps the measurements in the folder `curve`. queries, lists:
        training sizes; by default 100, doubling up to all; `()` leaves a curve out.

        >>> acclimate.open("run").curve(queries=(), lists=(), progress=None).path.name
        'curve.html'
        """
        from acclimate.report import curves
        from acclimate.stages.curve import last_stage, learning_curves

        run, outputs = open_run(self.folder, last_stage(load_run(self.folder)))
        with run.workspace.lock(), shown(progress):
            measured = learning_curves(run, outputs, queries=queries, lists=lists)
            page = Page(curves.text(measured), curves.write(measured, self.folder))
        if (self.folder / "report.json").is_file():
            try:
                self.write_report()
            except DataError as error:  # measured otherwise, or only in part: curves do not depend on it
                distributed.warn("curve", f"the report omits them: {error}")
        return page

    def export(
        self,
        format: str,
        out: StrPath | None = None,
        *,
        system: str | None = None,
        url: str | None = None,
        progress: Shown = "auto",
    ) -> Exported:
        """Write the recommended system, or another, for a search engine or database; see docs/exports.md.

        format: pgvector, sqlite and so on. out: a folder that is new, empty or holds an earlier export of the same; by
        default `exports/FORMAT` in the run's folder. url: a server to load it into. Raises SettingError for an unknown
        format or system, AcclimateError for an `out` that holds something else.

        >>> print(acclimate.open("run").export("sqlite", "exported", system="bm25"))  # doctest: +ELLIPSIS
        bm25 as sqlite: 40 documents, ... bm25 postings; exported, ... MB
        SQLite finds 1.00 of this run's first ten ...
        """
        from acclimate.deploy.exports.export import export

        run, outputs = open_latest(self.folder)
        with shown(progress):
            return export(run, outputs, format, None if out is None else Path(path_text(out, "out")), system, url)

    def update(
        self,
        newdocs: StrPath | Documents | None = None,
        *,
        remove: StrPath | None = None,
        all: bool = False,
        progress: Shown = "auto",
    ) -> Updated:
        """Search new and changed documents, and stop searching removed ones; see docs/updating.md.

        newdocs: new or changed documents, in any form that `adapt` takes; unchanged ones do no harm. remove: a file of
        ids of documents to remove. all: newdocs is the complete collection, so other documents are removed. Nothing is
        trained, and measurements stay as they are. Raises DataError for an unknown id, and for unreadable files.

        >>> print(acclimate.open("run").update("docs"))  # doctest: +ELLIPSIS
        No changes: ... documents.
        """
        from acclimate.deploy.updating.update import update

        with shown(progress):
            result = update(self.folder, newdocs, remove, replaces=all)
        self.__dict__.pop("report", None)  # it was rewritten
        return result

    def plan_update(
        self, newdocs: StrPath | Documents | None = None, *, remove: StrPath | None = None, all: bool = False
    ) -> str:
        """Describe what `update` with the same arguments would add, change and remove; nothing is written.

        >>> "added 0 · changed 0 · removed 0" in acclimate.open("run").plan_update("docs")
        True
        """
        from acclimate.deploy.updating.update import plan

        return plan(self.folder, newdocs, remove, replaces=all)

    def serve(self, **options: Unpack[ServeOptions]) -> None:
        """Serve the run over HTTP until SIGINT or SIGTERM (needs `acclimate[serve]`); see `acclimate.api.serve`."""
        from acclimate.api.serve import serve

        serve(self.folder, **options)

    def asgi(self, **options: Unpack[AppOptions]) -> Any:
        """The same as an ASGI application, loaded and warm, for your own server: one process, one worker."""
        from acclimate.api.serve import application

        return application(self.folder, **options)

    def feedback(self, out: StrPath) -> exported_feedback.ExportedFeedback:
        """Write the feedback collected while serving as BEIR queries and judgments, which `adapt` can measure with.

        Raises DataError if there is no feedback.
        """
        return exported_feedback.export(self.folder, Path(path_text(out, "out")))

    def judge(self, **options: Unpack[JudgeOptions]) -> Judgment:
        """Have an LLM grade the top results of every system, measure the systems by its grades, and rewrite the report.

        See `acclimate.api.judge.judge` for options and errors.

        >>> acclimate.open("run").judge(llm="openai:gpt-4o", n=50)  # doctest: +SKIP
        <Judgment of 'run': WIN by openai:gpt-4o>
        """
        from acclimate.api.judge import judge

        judgment = judge(self.folder, **options)
        self.__dict__.pop("report", None)  # the report was rewritten
        return judgment

    @property
    def answers(self) -> Answers:
        """The cached LLM answers.

        >>> acclimate.open("run").answers.damaged()
        0
        """
        return Answers(self.folder)
