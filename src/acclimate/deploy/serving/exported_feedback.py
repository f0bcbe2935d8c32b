"""Export people's grades as BEIR queries and judgments, on which a run can be measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError
from acclimate.base.files import atomic_folder, write_jsonl
from acclimate.base.text import command
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats import beir
from acclimate.deploy.serving.feedback import FILE, Feedback
from acclimate.records import Qrel, Query
from acclimate.stages.runs import current, opened

QUERIES, QRELS = "queries.jsonl", "qrels/test.tsv"


class ExportedFeedback(NamedTuple):
    """Counts of an export."""

    queries: int  # that have a relevant document among their grades
    judgments: int
    without_relevant: int  # queries left out because nothing of theirs was graded above 0
    preferred: Mapping[str, int]  # system, or `same` -> times that it was preferred
    clicks: int
    of_gone: int = 0  # judgments left out because their documents are not searched any more
    of_came: int = 0  # judgments, among the others, of documents that an update brought

    def __str__(self) -> str:
        lines = [f"{self.queries:,} queries with {self.judgments:,} judgments, {self.clicks:,} clicks"]
        if self.of_gone:
            lines.append(f"{self.of_gone:,} judgments left out: their documents are not in the run any more")
        if self.of_came:
            lines.append(
                f"{self.of_came:,} judgments are of documents that came by an update: adapt to the documents of today"
            )
        if self.without_relevant:
            lines.append(f"{self.without_relevant:,} queries left out: nothing of theirs was graded above 0")
        if self.preferred:
            lines.append("preferred: " + ", ".join(f"{name} {n:,}" for name, n in self.preferred.items()))
        return "\n".join(lines)


def export(run_folder: Path, out: Path) -> ExportedFeedback:
    """Write `queries.jsonl` and `qrels/test.tsv`, and beside them preferences.jsonl and clicks.jsonl.

    The last grade of a document for a query counts, and none of a document that is not searched any more: `adapt`
    refuses judgments of documents that there are not. Raises DataError where nobody graded anything, or `out` holds
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
    given = len(grades)
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
        of_gone=given - len(grades),
        of_came=sum(grade.doc_id not in of_the_run for grade in judged),
    )


def _documents(run_folder: Path) -> tuple[Corpus, Corpus]:
    """Those that are searched today, and those that the stages were made of."""
    run, _ = current(run_folder)
    before_updates = run if run.updated_folder is None else opened(run_folder, "evaluate")[0]
    return run.input.documents, before_updates.input.documents
