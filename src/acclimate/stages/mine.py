"""Hard negatives: documents that a retriever ranks high and that are probably not the answer.

Left out are the source document, its duplicates, its siblings (passages of one document, `doc_id#n`) and whatever
scores so near the source that it may well be relevant (the share-of-positive margin of NV-Retriever, arXiv 2407.15831).
What one query gets depends on that query alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Annotated, NamedTuple

from acclimate.domains import Above, AtLeast, Between, OneOf
from acclimate.records import Doc, NWay, ScoredDoc, SyntheticQuery
from acclimate.settings import checked
from acclimate.stages.sample import text_key

SAMPLING = ("top", "random")
_DRAWS_PER_WAY = 20  # random documents looked at before an example is left short


class Mined(NamedTuple):
    """Training examples, and what was passed over."""

    examples: list[NWay]
    dropped: dict[str, int]  # candidates by reason, and queries with "no negatives"
    filled: int  # negatives drawn from the whole corpus, where candidates were too few


@checked
def mine(
    queries: Sequence[SyntheticQuery],
    run: Iterable[ScoredDoc],
    corpus: Mapping[str, Doc],
    *,
    n_ways: Annotated[int, Between(2, 100_000)] = 8,
    skip_top: Annotated[int, AtLeast(0)] = 0,
    depth: Annotated[int, AtLeast(1)] = 50,
    max_share: Annotated[float, Above(0)] = 0.95,
    sampling: Annotated[str, OneOf(SAMPLING)] = "random",
    seed: int = 0,
) -> Mined:
    """One n-way example per query, the source document first, from a run that holds each query's hits, best first.

    A query with too few candidates is filled up with documents drawn from the whole corpus; one that finds none even
    there has no example.

    Parameters
    ----------
    n_ways
        Documents per training example: one positive and n_ways - 1 negatives.
    skip_top
        Pass over this many of the first hits.
    depth
        Negatives come from this many first hits.
    max_share
        Pass over a document that scores above this share of the source document's score (1 or more: never).
    sampling
        Which of the candidates become negatives: top (the hardest) or random.
    """
    doc_ids = sorted(corpus)
    hits = {query_id: list(found) for query_id, found in groupby(run, key=lambda hit: hit.query_id)}
    dropped = {"duplicate": 0, "sibling": 0, "near the positive": 0, "no negatives": 0}
    filled = 0
    examples: list[NWay] = []
    for query in queries:
        rng = random.Random(f"{seed}:{query.query_id}")
        found = hits.get(query.query_id, [])
        positive = next((hit.score for hit in found if hit.doc_id == query.doc_id), None)
        source = text_key(corpus[query.doc_id])
        candidates: list[str] = []
        for hit in found[skip_top:depth]:
            if hit.doc_id == query.doc_id:
                continue
            if text_key(corpus[hit.doc_id]) == source:
                dropped["duplicate"] += 1
            elif are_siblings(hit.doc_id, query.doc_id):
                dropped["sibling"] += 1
            elif max_share < 1 and positive is not None and hit.score > max_share * positive:
                dropped["near the positive"] += 1
            else:
                candidates.append(hit.doc_id)
        negatives = (
            candidates[: n_ways - 1] if sampling == "top" else rng.sample(candidates, min(n_ways - 1, len(candidates)))
        )
        seen = {query.doc_id, *(hit.doc_id for hit in found)}
        for doc_id in rng.sample(doc_ids, min(len(doc_ids), _DRAWS_PER_WAY * n_ways)):
            if len(negatives) == n_ways - 1:
                break
            if doc_id not in seen and not are_siblings(doc_id, query.doc_id) and text_key(corpus[doc_id]) != source:
                negatives.append(doc_id)
                filled += 1
        if negatives:
            examples.append(NWay(query.query_id, (query.doc_id, *negatives)))
        else:
            dropped["no negatives"] += 1
    return Mined(examples, dropped, filled)


def are_siblings(one: str, other: str) -> bool:
    """True for two passages of one document: ids that differ only behind their last `#`."""
    parent, mark, _ = one.rpartition("#")
    return bool(mark) and parent == other.rpartition("#")[0] and "#" in other
