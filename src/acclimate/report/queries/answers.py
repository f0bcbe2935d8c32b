"""What a run's LLM answered, and what became of it: of what `generate` and `filter` left, for pages of all kinds."""

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

_QUERY = 300  # characters of a query that a reader needs


class Answered(NamedTuple):
    """Every answer of a run."""

    answers: list[Answer]
    filters: tuple[str, ...] | None  # that went over them, in their order; None: not filtered yet
    min_difference: float  # what counts as the same query


def read(run: Run, little: Collection[str] | None = None) -> Answered:
    """What was written and what became of it. little: words that say little; None: no overlap is computed.

    Raises DataError when something is damaged.
    """
    generated, filtered = run.workspace.manifest("generate"), run.workspace.manifest("filter")
    folder = run.workspace.folder
    assert generated is not None
    if filtered is not None:
        manifests.check(folder / "filter", filtered)
    if filtered is not None and filtered["inputs"].get("generate") != fingerprint(generated["outputs"]):
        filtered = None  # of the queries that were there before these
    judged: dict[str, Mapping[str, Any]] = {}
    if filtered is not None:
        judged = {row["query_id"]: row for _, row in read_jsonl(run.folder("filter") / "scores.jsonl")}
    queries = list(read_synthetic(run.folder("generate") / "queries.jsonl")) if generated["out"] else []
    answers = [_answer(query, judged.get(query.query_id, {})) for query in queries]
    if little is not None:
        texts = (run.input.corpus[query.doc_id].default_text() for query in queries)
        answers = [
            answer._replace(overlap=overlap(answer.query.text, text, little))
            for answer, text in zip(answers, texts, strict=True)
        ]
    answers += [_reject(row) for _, row in read_jsonl(run.folder("generate") / "rejects.jsonl")]
    settings = run.settings["filter"] if filtered is None else filtered["settings"]
    return Answered(answers, None if filtered is None else tuple(settings["filters"]), settings["min_difference"])


def _answer(query: SyntheticQuery, judged: Mapping[str, Any]) -> Answer:
    """A query with every number that is known of it."""
    known = {"logprob": query.logprob} | {key: judged[key] for key in judged if key not in ("query_id", "reason")}
    scores = {
        name: float(value)
        for name, value in known.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    return Answer(query, reason=judged.get("reason"), scores=scores)


def _reject(row: Mapping[str, Any]) -> Answer:
    """What was turned down as it came, with an id as if it were a query."""
    key = synthetic_id(row["doc_id"], row["text"])
    query = SyntheticQuery(key, row["text"], row["doc_id"], math.nan, row.get("prompt", ""))
    return Answer(query, is_query=False, reason=row["reason"])


def turned_down(reasons: Sequence[tuple[str, int, Sequence[Answer]]]) -> list[dict[str, Any]]:
    """Rows for a page. reasons: as `statistics.reasons` has them."""
    return [
        {
            "reason": reason,
            "count": count,
            "stage": "filter" if examples[0].is_query else "generate",
            "examples": list(_different(examples).values()),
        }
        for reason, count, examples in reasons
    ]


def _different(answers: Sequence[Answer]) -> dict[str, dict[str, str]]:
    """By text: a row for each."""
    rows = [
        {"query": excerpt(answer.query.text, _QUERY), "doc_id": answer.query.doc_id, "note": answer.query.prompt}
        for answer in answers
    ]
    return {row["query"]: row for row in rows}
