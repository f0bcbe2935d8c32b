"""A teacher rates each query's candidates: an ensemble of scorers, each worth what it shows on held-out queries.

Scores are brought to [0, 1] per query and scorer (minimum-maximum over the candidates) and added with weights chosen on
held-out queries. A scorer that does not help there gets no weight, teaches nothing, and is not asked to rate anything
more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from acclimate.records import NWay, Query, Scorer, SyntheticQuery
from acclimate.retrieve.members import Ids
from acclimate.retrieve.system import Candidates, fuse, min_max
from acclimate.retrieve.weights import HeldOut, Weighed, alone, choose_weights

RERANKER = "reranker"

Find = Callable[[Sequence[Query]], Iterable[Candidates]]


class Labelled(NamedTuple):
    """Candidates with the teacher's scores in [0, 1], source document first, and who the teacher is."""

    train: list[NWay]
    dev: list[NWay]
    weights: dict[str, float]  # of the teacher
    teachers: list[dict[str, Any]]  # name, its nDCG@10 alone on held-out queries, weight, whether used, why
    reranker: Weighed | None  # the reranker's weight beside the fusion of the retrievers, and what both reach
    entropy: float  # mean of the teacher's scores as a distribution over its list, in shares of the uniform one
    dropped: dict[str, int]


def label(
    train: Sequence[SyntheticQuery],
    dev: Sequence[SyntheticQuery],
    held_out: HeldOut,
    find: Find,
    ids: Ids,
    members: Sequence[str],
    reranker: Scorer | None,
    *,
    n_ways: int = 100,
    reranker_ways: int = 20,
    min_gain: float = 0.002,
    trust: float = 0.5,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Labelled:
    """Choose the teacher on `held_out`, then let it rate the candidates of every synthetic query.

    `find` gives candidates scored by `members`. The reranker, which costs far more, rates the `reranker_ways` best of
    their fusion: for the held-out queries to show what it is worth, for the others only if it is worth something.
    Raises DataError without held-out queries: a teacher that nothing was chosen for would be a guess.

    Parameters
    ----------
    n_ways
        Candidates that the teacher rates per query, the source document among them.
    reranker_ways
        The same where the reranker is one of the teachers.
    min_gain
        nDCG@10 on held-out queries that the reranker must add to the retrievers' fusion, or it does not teach.
    trust
        How far weights follow held-out synthetic queries, 0 (equal weights) to 1; real ones are followed all the way.
    """
    equal = dict.fromkeys(members, 1 / len(members))
    found = [_best(one, ids, equal, n_ways) for one in find(held_out.queries)]
    fusion = choose_weights(found, held_out.answers, members, trust=trust if held_out.synthetic else 1.0)
    weights, reached, reason, both = fusion.weights, fusion.ndcg, "", None
    few: list[Candidates] = []
    if reranker is not None:
        few = _rerank([_best(one, ids, fusion.weights, reranker_ways) for one in found], reranker, ids, progress)
        # The reranker against the fusion as it is: two weights to choose, not four.
        two = [_with_fusion(one, fusion.weights) for one in few]
        both = choose_weights(two, held_out.answers, ["fusion", RERANKER], trust=1.0)
        if both.ndcg >= fusion.ndcg + min_gain:
            share = both.weights["fusion"]
            weights = {name: round(weight * share, 4) for name, weight in fusion.weights.items()}
            weights[RERANKER] = both.weights[RERANKER]
            reached = both.ndcg
        else:
            reason = f"with it {both.ndcg:.3f}, without it {fusion.ndcg:.3f}: it does not help to rank"
    teachers: list[dict[str, Any]] = [
        {
            "name": name,
            "nDCG@10": round(alone(few if name == RERANKER else found, held_out.answers, name), 4),
            "weight": weights.get(name, 0.0),
            "used": weights.get(name, 0.0) > 0,
            "reason": reason if name == RERANKER else "",
        }
        for name in [*members, *([RERANKER] if reranker is not None else [])]
    ]
    teachers.append({"name": "teacher", "nDCG@10": round(reached, 4), "weight": 1.0, "used": True, "reason": ""})

    rated_before, to_rate = len(few), len(few) + len(train) + len(dev)

    def rated_more(done: int, _total: int) -> None:
        progress(rated_before + done, to_rate)

    def rated(queries: Sequence[SyntheticQuery]) -> list[NWay]:
        asked = reranker if weights.get(RERANKER) else None
        lists = _lists(queries, find, ids, members, n_ways if asked is None else min(n_ways, reranker_ways))
        if asked is not None:
            again = _rerank([candidates for _, candidates in lists], asked, ids, rated_more)
            lists = [(query, candidates) for (query, _), candidates in zip(lists, again, strict=True)]
        return [_rated(query, candidates, weights, ids) for query, candidates in lists]

    lessons = rated(train)
    rated_before += len(train)
    checks = rated(dev)
    return Labelled(
        lessons,
        checks,
        weights,
        teachers,
        both,
        round(float(np.mean([_entropy(example.scores) for example in lessons])), 4) if lessons else 0.0,
        {"source not among the candidates": len(train) + len(dev) - len(lessons) - len(checks)},
    )


def _best(
    one: Candidates, ids: Ids, weights: Mapping[str, float], n_ways: int, source: int | None = None
) -> Candidates:
    """The `n_ways` best of a query's candidates, in row order, with `source` among them where it is one at all."""
    order = ids.order(fuse(one, weights), one.rows)
    kept = order[:n_ways]
    if source is not None and source not in one.rows[kept]:
        kept = np.append(order[: n_ways - 1], np.flatnonzero(one.rows == source))
    kept = np.sort(kept)
    return Candidates(
        one.query,
        one.rows[kept],
        {name: scores[kept] for name, scores in one.scores.items()},
        None if one.documents is None else one.documents[kept],
    )


def _lists(
    queries: Sequence[SyntheticQuery], find: Find, ids: Ids, members: Sequence[str], n_ways: int
) -> list[tuple[SyntheticQuery, Candidates]]:
    """Each query with its `n_ways` best candidates; a query whose source is not among its candidates is left out."""
    equal = dict.fromkeys(members, 1 / len(members))
    lists: list[tuple[SyntheticQuery, Candidates]] = []
    for query, one in zip(queries, find([query.as_query() for query in queries]), strict=True):
        source = ids.row[query.doc_id]
        if source in one.rows:
            lists.append((query, _best(one, ids, equal, n_ways, source)))
    return lists


def _rerank(
    found: Sequence[Candidates], reranker: Scorer, ids: Ids, progress: Callable[[int, int], None]
) -> list[Candidates]:
    """The same candidates with the reranker's scores, query by query so that memory stays flat."""
    rated: list[Candidates] = []
    for at, one in enumerate(found, 1):
        scores = reranker.score([(one.query, ids.doc_ids[row]) for row in one.rows])
        rated.append(one._replace(scores={**one.scores, RERANKER: np.array(scores, dtype=np.float32)}))
        progress(at, len(found))
    return rated


def _with_fusion(one: Candidates, weights: dict[str, float]) -> Candidates:
    return one._replace(scores={"fusion": fuse(one, weights), RERANKER: one.scores[RERANKER]})


def _rated(query: SyntheticQuery, one: Candidates, weights: dict[str, float], ids: Ids) -> NWay:
    """The teacher's score of each candidate, the source document first, then by score."""
    scores = min_max(fuse(one, weights))
    source = ids.row[query.doc_id]
    order = sorted(ids.order(scores, one.rows), key=lambda at: one.rows[at] != source)
    return NWay(
        query.query_id,
        tuple(ids.doc_ids[one.rows[at]] for at in order),
        tuple(round(float(scores[at]), 6) for at in order),
    )


def _entropy(scores: Sequence[float], temperature: float = 0.1) -> float:
    """1 when the softmax of the scores is uniform, 0 when it is one document."""
    if len(scores) < 2:
        return 0.0
    shares = np.exp((np.array(scores) - max(scores)) / temperature)
    shares = shares / shares.sum()
    return float(-(shares * np.log(np.maximum(shares, 1e-12))).sum() / math.log(len(scores)))
