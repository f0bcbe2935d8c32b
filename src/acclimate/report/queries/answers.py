"""Every answer of a run's LLM and its outcome, from the outputs of `generate` and `filter`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from acclimate.base.digests import fingerprint
from acclimate.base.files import read_jsonl
from acclimate.corpus.formats import read_synthetic, synthetic_id
from acclimate.records import SyntheticQuery
from acclimate.report.formatting import excerpt
from acclimate.report.queries.statistics import Answer, overlap
from acclimate.run import manifests

if TYPE_CHECKING:
    from acclimate.run.run import Run

_QUERY = 300  # characters shown of a query


class AnswerSet(NamedTuple):
    """All answers of a run."""

    answers: list[Answer]
    filters: tuple[str, ...] | None  # in order; None: not filtered yet
    min_difference: float  # below which two queries count as the same


def read(run: Run, stop_words: Collection[str] | None = None) -> AnswerSet:
    """Read all answers and their outcomes. stop_words: None computes no overlap.

    Raises DataError for damaged files.
    """
    generated, filtered = run.workspace.manifest("generate"), run.workspace.manifest("filter")
    folder = run.workspace.folder
    assert generated is not None
    if filtered is not None:
        manifests.check(folder / "filter", filtered)
    if filtered is not None and filtered["inputs"].get("generate") != fingerprint(generated["outputs"]):
        filtered = None  # it filtered earlier queries
    judged: dict[str, Mapping[str, Any]] = {}
    if filtered is not None:
        judged = {row["query_id"]: row for _, row in read_jsonl(run.folder("filter") / "scores.jsonl")}
    queries = list(read_synthetic(run.folder("generate") / "queries.jsonl")) if generated["out"] else []
    answers = [_answer(query, judged.get(query.query_id, {})) for query in queries]
    if stop_words is not None:
        texts = (run.input.corpus[query.doc_id].default_text() for query in queries)
        answers = [
            answer._replace(overlap=overlap(answer.query.text, text, stop_words))
            for answer, text in zip(answers, texts, strict=True)
        ]
    answers += [_reject(row) for _, row in read_jsonl(run.folder("generate") / "rejects.jsonl")]
    settings = run.settings["filter"] if filtered is None else filtered["settings"]
    return AnswerSet(answers, None if filtered is None else tuple(settings["filters"]), settings["min_difference"])


def _answer(query: SyntheticQuery, judged: Mapping[str, Any]) -> Answer:
    """A query with all of its known scores."""
    known = {"logprob": query.logprob} | {key: judged[key] for key in judged if key not in ("query_id", "reason")}
    scores = {
        name: float(value)
        for name, value in known.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    return Answer(query, reason=judged.get("reason"), scores=scores)


def _reject(row: Mapping[str, Any]) -> Answer:
    """A rejected answer, with an id as for a query."""
    key = synthetic_id(row["doc_id"], row["text"])
    query = SyntheticQuery(key, row["text"], row["doc_id"], math.nan, row.get("prompt", ""))
    return Answer(query, is_query=False, reason=row["reason"])


def rejected_rows(reasons: Sequence[tuple[str, int, Sequence[Answer]]]) -> list[dict[str, Any]]:
    """Rejected answers as rows for a page. reasons: from `statistics.reasons`."""
    return [
        {
            "reason": reason,
            "count": count,
            "stage": "filter" if examples[0].is_query else "generate",
            "examples": list(_distinct(examples).values()),
        }
        for reason, count, examples in reasons
    ]


def _distinct(answers: Sequence[Answer]) -> dict[str, dict[str, str]]:
    """Distinct texts, with a row for each."""
    rows = [
        {"query": excerpt(answer.query.text, _QUERY), "doc_id": answer.query.doc_id, "note": answer.query.prompt}
        for answer in answers
    ]
    return {row["query"]: row for row in rows}
