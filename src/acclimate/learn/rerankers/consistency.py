"""Train a reranker on synthetic queries alone, to find those consistent with the others, i.e. whose document it ranks
high (InPars-light, arXiv 2301.02998)."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from acclimate.learn.rerankers.texts import Texts
from acclimate.learn.rerankers.train_all import train_rerankers
from acclimate.records import Doc, NWay, Scorer, SyntheticQuery
from acclimate.search import scorers


def trained_reranker(
    queries: Sequence[SyntheticQuery],
    candidates: Mapping[str, Sequence[str]],
    held_out: Collection[str],
    corpus: Mapping[str, Doc],
    folder: Path,
    *,
    can_contrast: Callable[[SyntheticQuery, str], bool],
    n_ways: int,
    settings: Mapping[str, Any],
    seed: int,
    progress: Callable[[int, int], None],
) -> Scorer:
    """Train a reranker to rank each query's source above `n_ways - 1` random other candidates.

    candidates: query_id -> doc ids. can_contrast: whether a document can be a negative of a query. held_out: documents
    whose queries only choose the checkpoint. folder: of the model, which stays there, so that an interrupted run does
    not train it again. settings: of `stages.train`. Raises DataError if there are no training or no held-out queries.
    """
    examples = [_example(query, candidates[query.query_id], can_contrast, n_ways, seed) for query in queries]
    examples = [example for example in examples if len(example.doc_ids) > 1]
    sources = {query.query_id: query.doc_id for query in queries}
    settings = {**settings, "rerankers": "one", "merge": "none", "seed": seed}
    paths, _ = train_rerankers(
        [example for example in examples if sources[example.query_id] not in held_out],
        [example for example in examples if sources[example.query_id] in held_out],
        Texts({query.query_id: query.text for query in queries}, corpus),
        folder,
        {},
        settings=settings,
        progress=progress,
        keeps_one=True,
        stage="filter",
    )
    (path,) = paths.values()
    return scorers.load(path, corpus, max_tokens=settings["max_tokens"])


def _example(
    query: SyntheticQuery,
    candidates: Sequence[str],
    can_contrast: Callable[[SyntheticQuery, str], bool],
    n_ways: int,
    seed: int,
) -> NWay:
    others = [doc_id for doc_id in candidates if doc_id != query.doc_id]
    rng = random.Random(f"consistency:{seed}:{query.query_id}")
    negatives = (doc_id for doc_id in rng.sample(others, len(others)) if can_contrast(query, doc_id))
    return NWay(query.query_id, (query.doc_id, *islice(negatives, n_ways - 1)))
