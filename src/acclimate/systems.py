"""The systems that are compared, put together from members, with the weights chosen on held-out queries.

Held-out means: real queries of a dev split where the collection brings one beside its test split, else synthetic
queries whose documents no training query came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acclimate.records import Query, Scorer
from acclimate.retrieve.members import BM25Member, DenseMember, Ids, LateInteractionMember, Member
from acclimate.retrieve.reranked import Reranked
from acclimate.retrieve.system import Candidates, System, fuse
from acclimate.retrieve.weights import choose_weights, ndcg
from acclimate.stages.evaluate import Contender

HYBRID = "hybrid"
BASE = ("bm25", "dense", "late-interaction")
DEPTH = 100


class HeldOut(NamedTuple):
    """Queries to choose on, and the grades of their relevant documents by row."""

    what: str  # "dev queries" or "synthetic queries"
    queries: Sequence[Query]
    answers: Sequence[Mapping[int, int]]
    trust: float  # in weights that are best for them: 1 for real queries, less for synthetic ones


class Chosen(NamedTuple):
    """Weights and the candidate, with what each system reached on the held-out queries."""

    weights: dict[str, dict[str, float]]  # system -> member -> weight
    reranker_weight: float
    candidate: str
    ndcg: dict[str, float]  # system -> mean nDCG@10


def choose(
    ids: Ids, members: Mapping[str, Member], held_out: HeldOut, reranker: Scorer | None, rerank_depth: int
) -> Chosen:
    """Weights for the hybrids and the reranker, and the adapted system that does best on the held-out queries."""
    names = list(members)
    sources = [name for name, member in members.items() if not isinstance(member, LateInteractionMember)]
    everything = System(ids, members, sources, dict.fromkeys(names, 1.0), DEPTH)
    found = list(everything.candidates(held_out.queries))
    groups = {HYBRID: [name for name in BASE if name in names]}
    adapted = [name for name in names if name.endswith(":adapted")]
    if adapted:
        groups[f"{HYBRID}:adapted"] = [
            f"{name}:adapted" if f"{name}:adapted" in names else name for name in groups[HYBRID]
        ]
    weights = {name: {name: 1.0} for name in names}
    reached = {name: _mean(found, held_out, weights[name]) for name in names}
    for system, parts in groups.items():
        chosen = choose_weights(found, held_out.answers, parts, trust=held_out.trust)
        weights[system], reached[system] = chosen.weights, chosen.ndcg
    reranker_weight = 0.0
    if reranker is not None:
        two = _first_and_reranked(found, weights[HYBRID], reranker, ids, rerank_depth)
        chosen = choose_weights(two, held_out.answers, [HYBRID, "reranker"], trust=1.0)
        reranker_weight, reached[f"{HYBRID}+reranker"] = chosen.weights["reranker"], chosen.ndcg
    contending = [name for name in reached if name.endswith(":adapted") or name.endswith("+reranker")]
    # Of equals the one that answers fastest: a member alone before a hybrid before a reranker.
    candidate = max(contending, key=lambda name: (reached[name], "+" not in name, HYBRID not in name))
    return Chosen(weights, reranker_weight, candidate, {name: round(value, 5) for name, value in reached.items()})


def contenders(
    ids: Ids,
    members: Mapping[str, Member],
    chosen: Chosen,
    reranker: Scorer | None,
    rerank_depth: int,
    sizes: Mapping[str, int],
) -> list[Contender]:
    """Every system to measure. `sizes` are the bytes of each member's index."""
    found: list[Contender] = []
    for name, weights in chosen.weights.items():
        used = {member: weight for member, weight in weights.items() if weight > 0}
        sources = sources_of(used, members)
        found.append(
            Contender(
                name,
                _kind(name, members),
                name.endswith(":adapted"),
                System(ids, members, sources, used, DEPTH),
                sum(sizes[member] for member in {*used, *sources}),
                used if len(used) > 1 else {},
            )
        )
    if reranker is not None:
        for first in (HYBRID,):
            at = next(contender for contender in found if contender.name == first)
            found.append(
                Contender(
                    f"{first}+reranker",
                    "reranked",
                    True,
                    Reranked(at.retriever, reranker, rerank_depth, chosen.reranker_weight),
                    at.index_bytes,
                    {first: round(1 - chosen.reranker_weight, 4), "reranker": chosen.reranker_weight},
                )
            )
    return found


def sources_of(used: Mapping[str, float], members: Mapping[str, Member]) -> list[str]:
    """Who finds the candidates: the members that can, or where there is none, BM25 and the base's dense vectors."""
    able = [name for name in used if isinstance(members[name], BM25Member | DenseMember)]
    return able or ["bm25", "dense"]


def _kind(name: str, members: Mapping[str, Member]) -> str:
    return name.removesuffix(":adapted") if name in members else HYBRID


def _mean(found: Sequence[Candidates], held_out: HeldOut, weights: Mapping[str, float]) -> float:
    grid = np.array([list(weights.values())], dtype=np.float32)
    return float(ndcg(found, held_out.answers, list(weights), grid).mean())


def _first_and_reranked(
    found: Sequence[Candidates], weights: Mapping[str, float], reranker: Scorer, ids: Ids, depth: int
) -> list[Candidates]:
    """The first `depth` candidates of a fusion, with its score and the reranker's."""
    both: list[Candidates] = []
    for one in found:
        total = fuse(one, weights)
        head = ids.order(total, one.rows)[:depth]
        rated = reranker.score([(one.query, ids.doc_ids[row]) for row in one.rows[head]])
        scores: dict[str, Any] = {HYBRID: total[head], "reranker": np.array(rated, dtype=np.float32)}
        both.append(Candidates(one.query, one.rows[head], scores))
    return both
