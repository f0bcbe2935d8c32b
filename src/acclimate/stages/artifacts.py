"""What the stages of a run have left, read back from their folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from acclimate.base.files import read_json, read_jsonl
from acclimate.base.words import normalized
from acclimate.corpus.formats import read_synthetic
from acclimate.corpus.identical import Identical, identical
from acclimate.records import PromptExample, Qrel, Query, SyntheticQuery
from acclimate.run.run import Run
from acclimate.run.workspace import Made

if TYPE_CHECKING:
    from acclimate.search.weights import HeldOut


def splits(made: Mapping[str, Made]) -> dict[str, str]:
    """Drawn document -> the side that it is on: train, dev or test."""
    return read_json(made["sample"].folder / "splits.json")


def held_out(run: Run, made: Mapping[str, Made]) -> HeldOut:
    """What choices are made on: real dev queries where there are some, else synthetic ones."""
    from acclimate.search.weights import LEFT_OUT, HeldOut

    judged, seen = run.labels.choosing, shown(made)
    if judged.queries:
        own = identical(judged.queries, judged.qrels, run.documents).left_out
        row = run.ids.document_row
        grades: dict[str, dict[int, int]] = {
            query_id: {row[doc_id]: LEFT_OUT for doc_id in docs} for query_id, docs in own.items()
        }
        for qrel in judged.qrels:
            grades.setdefault(qrel.query_id, {}).setdefault(row[qrel.doc_id], max(qrel.relevance, 0))
        asked = [query for query in judged.queries if normalized(query.text) not in seen]
        return HeldOut(asked, [grades[query.query_id] for query in asked], synthetic=False)
    synthetic = sides(made)["dev"]
    return HeldOut(
        [query.as_query() for query in synthetic],
        [{run.ids.document_row[run.parents.get(query.doc_id, query.doc_id)]: 1} for query in synthetic],
        synthetic=True,
    )


class Test(NamedTuple):
    """What measures."""

    split: str  # "synthetic" where nothing is labelled
    queries: list[Query]
    qrels: list[Qrel]
    shown: list[Query]  # of the split, left out because a prompt shows them
    identical: Identical


def test(run: Run, made: Mapping[str, Made]) -> Test:
    """The labelled queries, or where there are none synthetic ones whose documents taught and chose nothing."""
    split, queries, qrels = run.labels.measuring
    if not split:
        synthetic = sides(made)["test"]
        qrels = [Qrel(query.query_id, run.parents.get(query.doc_id, query.doc_id), 1) for query in synthetic]
        return Test("synthetic", [query.as_query() for query in synthetic], qrels, [], Identical({}, is_kind=False))
    seen = shown(made)
    asked, left_out = (
        [query for query in queries if (normalized(query.text) in seen) == is_seen] for is_seen in (False, True)
    )
    return Test(split, asked, qrels, left_out, identical(asked, qrels, run.documents))


def examples(made: Mapping[str, Made]) -> list[PromptExample]:
    """What prompts show of the task itself."""
    path = made["sample"].folder / "examples.jsonl"
    return [PromptExample(**row) for _, row in read_jsonl(path)] if path.exists() else []


def shown(made: Mapping[str, Made]) -> set[str]:
    """The queries that an LLM saw as examples: they measure nothing and choose nothing."""
    return {normalized(one.query) for one in examples(made)}


def sides(made: Mapping[str, Made]) -> dict[str, list[SyntheticQuery]]:
    """The kept queries by the side that their source document is on."""
    side_of, found = splits(made), {side: list[SyntheticQuery]() for side in ("train", "dev", "test")}
    for query in read_synthetic(made["filter"].folder / "queries.jsonl"):
        found[side_of[query.doc_id]].append(query)
    return found


def turns(made: Mapping[str, Made]) -> list[str]:
    """What the names of `label`'s files end in, one for each teacher that students learn from in turn."""
    count = len(made["label"].notes["turns"])
    return [f"-{number}" for number in range(1, count + 1)] if count > 1 else [""]
