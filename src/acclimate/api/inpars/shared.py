"""Shared by the steps: a collection with judgments, and BM25."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from acclimate.base.errors import SettingError
from acclimate.corpus import collections
from acclimate.corpus.collections import Collection
from acclimate.records import Doc, Query, ScoredDoc
from acclimate.search.bm25 import BM25


def judged_collection(dataset: str, folder: Path) -> Collection:
    """A collection with the judged queries of its test split, else of its dev split. Raises SettingError without."""
    collection = collections.load(dataset, folder)
    split = collection.qrels.get("test") or collection.qrels.get("dev", [])
    judged = {qrel.query_id for qrel in split}
    queries = [query for query in collection.queries if query.query_id in judged]
    if not queries:
        raise SettingError(f"{dataset} has no judged queries; expected a collection that does, such as beir/scifact")
    return Collection(collection.name, collection.corpus, queries, collection.qrels)


def bm25_hits(corpus: Mapping[str, Doc], queries: Sequence[Query], k: int) -> Iterator[ScoredDoc]:
    """BM25's first `k` documents of each query that share a term with it, best first, ties by id."""
    doc_ids = sorted(corpus)
    index = BM25.build(corpus[doc_id].default_text() for doc_id in doc_ids)
    for query in queries:
        scores = index.scores(query.text)
        for place in islice(np.argsort(-scores, kind="stable"), k):
            if scores[place] > 0:
                yield ScoredDoc(query.query_id, doc_ids[place], float(scores[place]))
