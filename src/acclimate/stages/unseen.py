"""The queries that no reranker was trained on: UDAPDR labels only these (arXiv 2303.00807, section 3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from acclimate.base.errors import DataError
from acclimate.base.text import counted
from acclimate.learn.rerankers.groups import group_queries
from acclimate.learn.rerankers.steps import most_queries
from acclimate.records import NWay, SyntheticQuery
from acclimate.run.run import Run
from acclimate.stages.filter import Filtered
from acclimate.stages.sample import Sampled
from acclimate.stages.train import n_rerankers

QUERIES = ALL, UNSEEN = "all", "unseen"
TAUGHT = "a reranker learned from it"
_ADVICE = "lower train.max_queries, generate more (sample.n_docs, generate.per_doc), or label all (label.queries=all)"


def labels_unseen(run: Run) -> bool:
    """True if only queries that rerankers were not trained on are to be labelled, and this run trains them."""
    return run.settings["label"]["queries"] == UNSEEN and run.provided.reranker is None


def n_taught(run: Run) -> int:
    """Maximum number of queries that all rerankers together are trained on."""
    return n_rerankers(run) * most_queries(**run.settings["train"])


def check_unseen(run: Run, sampled: Sampled, filtered: Filtered) -> None:
    """Raises DataError, before training, if rerankers will be trained on every query."""
    settings, train = run.settings["train"], filtered.sides(sampled)["train"]
    examples = [NWay(query.query_id, (query.doc_id,)) for query in train]
    prompts = {query.query_id: query.prompt for query in train}
    parts = {name: settings[name] for name in ("rerankers", "min_queries")}
    groups = group_queries(examples, examples, prompts, seed=run.seed, **parts)
    if not any(len(group.examples) > most_queries(**settings) for group in groups):
        raise _nothing_unseen(len(train), filtered.folder)


def unseen(queries: Sequence[SyntheticQuery], taught: Collection[str], folder: Path) -> list[SyntheticQuery]:
    """The queries that no reranker was trained on. Raises DataError if there are none. folder: named in the error."""
    others = [query for query in queries if query.query_id not in taught]
    if not others:
        raise _nothing_unseen(len(queries), folder)
    return others


def _nothing_unseen(n_queries: int, folder: Path) -> DataError:
    return DataError(
        f"rerankers are trained on all {counted(n_queries, 'query')}, so label.queries=unseen leaves none to label; "
        f"{_ADVICE}",
        path=folder,
    )
