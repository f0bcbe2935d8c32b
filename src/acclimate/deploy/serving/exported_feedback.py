"""Export users' grades as BEIR queries and judgments, for measuring a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError
from acclimate.base.files import atomic_folder, write_jsonl
from acclimate.base.text import command, counted
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats import beir
from acclimate.deploy.serving.feedback import FILE, Feedback
from acclimate.records import Qrel, Query
from acclimate.stages.runs import open_latest, open_run

QUERIES, QRELS = "queries.jsonl", "qrels/test.tsv"


class ExportedFeedback(NamedTuple):
    """Counts of an export."""

    queries: int  # with at least one document graded above 0
    judgments: int
    without_relevant: int  # queries left out because no document was graded above 0
    preferred: Mapping[str, int]  # system, or `same` -> times preferred
    clicks: int
    of_gone: int = 0  # judgments left out because their documents were removed
    of_came: int = 0  # exported judgments of documents added by an update

    def __str__(self) -> str:
        lines = [
            f"{counted(self.queries, 'query')} with {counted(self.judgments, 'judgment')}, "
            f"{counted(self.clicks, 'click')}"
        ]
        if self.of_gone:
            lines.append(f"{counted(self.of_gone, 'judgment')} omitted: their documents are no longer in the run")
        if self.of_came:
            lines.append(
                f"{counted(self.of_came, 'judgment is', 'judgments are')} of documents added by an update: adapt to "
                "the current documents"
            )
        if self.without_relevant:
            lines.append(
                f"{counted(self.without_relevant, 'query')} omitted: none of their documents was graded above 0"
            )
        if self.preferred:
            lines.append("preferred: " + ", ".join(f"{name} {n:,}" for name, n in self.preferred.items()))
        return "\n".join(lines)


def export(run_folder: Path, out: Path) -> ExportedFeedback:
    """Write queries.jsonl, qrels/test.tsv, preferences.jsonl and clicks.jsonl.

    The last grade of a document for a query counts. Grades of removed documents are left out, because `adapt` refuses
    judgments of unknown documents. Raises DataError if there are neither grades nor preferences, or if `out` holds
    something else.
    """
    store = Feedback(run_folder)
    try:
        grades, preferences, clicks = store.grades(), store.preferences(), store.clicks()
    finally:
        store.close()
    if not grades and not preferences:
        raise DataError(f"no feedback yet; collect some with: {command('serve', run_folder)}", path=run_folder / FILE)
    if out.exists() and not (
        out.is_dir()
        and {path.name for path in out.iterdir()} <= {QUERIES, "qrels", "preferences.jsonl", "clicks.jsonl"}
    ):
        raise DataError("holds something else; expected a new folder, or one of an earlier export", path=out)
    searched, of_the_run = _documents(run_folder)
    n_grades = len(grades)
    grades = [grade for grade in grades if grade.doc_id in searched]
    relevant = {grade.query for grade in grades if grade.grade > 0}
    ids = {text: f"feedback-{fingerprint(text)[:12]}" for text in sorted({grade.query for grade in grades})}
    judged = [grade for grade in grades if grade.query in relevant]
    with atomic_folder(out) as folder:
        beir.write_queries(folder / QUERIES, [Query(ids[text], text) for text in ids if text in relevant])
        beir.write_qrels(folder / QRELS, sorted(Qrel(ids[grade.query], grade.doc_id, grade.grade) for grade in judged))
        write_jsonl(folder / "preferences.jsonl", (row._asdict() | {"preferred": row.preferred} for row in preferences))
        write_jsonl(folder / "clicks.jsonl", (row._asdict() for row in clicks))
    preferred = Counter(row.preferred for row in preferences)
    return ExportedFeedback(
        len(relevant),
        len(judged),
        len(ids) - len(relevant),
        dict(sorted(preferred.items())),
        len(clicks),
        of_gone=n_grades - len(grades),
        of_came=sum(grade.doc_id not in of_the_run for grade in judged),
    )


def _documents(run_folder: Path) -> tuple[Corpus, Corpus]:
    """(documents searched now, documents that the stages were made from)."""
    run, _ = open_latest(run_folder)
    before_updates = run if run.updated_folder is None else open_run(run_folder, "evaluate")[0]
    return run.input.documents, before_updates.input.documents
