"""What the stages of a run have left, read back from their folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from acclimate.base.files import read_json, read_jsonl
from acclimate.base.words import normalized
from acclimate.corpus.formats import read_synthetic
from acclimate.corpus.judged import SYNTHETIC, Judged
from acclimate.corpus.self_matches import self_matches
from acclimate.records import PromptExample, Qrel, SyntheticQuery
from acclimate.run.run import Run
from acclimate.run.workspace import Made


def splits(made: Mapping[str, Made]) -> dict[str, str]:
    """Drawn document -> the side that it is on: train, dev or test."""
    return read_json(made["sample"].folder / "splits.json")


def held_out(run: Run, made: Mapping[str, Made]) -> Judged:
    """What choices are made on: real dev queries where there are some, else synthetic ones."""
    labelled = run.labels.choosing
    return _unseen(labelled, run, made) if labelled.queries else _synthetic(run, sides(made)["dev"])


def test(run: Run, made: Mapping[str, Made]) -> Judged:
    """The labelled queries, or where there are none synthetic ones whose documents taught and chose nothing."""
    labelled = run.labels.measuring
    return _unseen(labelled, run, made) if labelled.queries else _synthetic(run, sides(made)["test"])


def _unseen(labelled: Judged, run: Run, made: Mapping[str, Made]) -> Judged:
    """Those of the labelled queries that no prompt shows."""
    seen = shown(made)
    judged = labelled.among(query for query in labelled.queries if normalized(query.text) not in seen)
    return replace(judged, self_matches=self_matches(judged.queries, judged.qrels, run.documents))


def _synthetic(run: Run, queries: Sequence[SyntheticQuery]) -> Judged:
    """Synthetic queries, for which the document that they were written for is relevant."""
    qrels = [Qrel(query.query_id, run.parents.get(query.doc_id, query.doc_id), 1) for query in queries]
    return Judged(SYNTHETIC, [query.as_query() for query in queries], qrels)


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
