"""The systems that are compared, put together from members, with the weights chosen on held-out queries.

Held-out means: real queries of a dev split where the collection brings one beside its test split, else synthetic
queries whose documents no training query came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

from acclimate.errors import unknown
from acclimate.records import Scorer
from acclimate.retrieve.folded import Folded
from acclimate.retrieve.members import BM25Member, DenseMember, Ids, LateInteractionMember, Member, SparseMember
from acclimate.retrieve.reranked import Reranked
from acclimate.retrieve.system import System
from acclimate.retrieve.weights import HeldOut, Weighed, alone, choose_weights
from acclimate.stages.evaluate import Contender

HYBRID = "hybrid"
BASE = ("bm25", "dense", "late-interaction")
DEPTH = 100


class Chosen(NamedTuple):
    """Weights and the candidate, with what each system reached on the held-out queries."""

    weights: dict[str, dict[str, float]]  # system -> member -> weight
    reranker_weight: float
    candidate: str
    ndcg: dict[str, float]  # system -> mean nDCG@10


def choose(
    ids: Ids,
    members: Mapping[str, Member],
    held_out: HeldOut,
    reranker: Weighed | None,
    *,
    trust: float,
    rerank: Sequence[str] = (HYBRID,),
) -> Chosen:
    """Weights for the hybrids, and the adapted system that does best on the held-out queries.

    `reranker` is its weight beside the fusion of the retrievers, and what they reach together, as `label` found.
    Only what `rerank` names, and so is measured, can be the candidate. A system that is better than the adapted hybrid
    by next to nothing gives way to it, and on synthetic queries a member alone always does: a fusion depends least on
    how far the held-out queries are like people's.
    The adapted hybrid takes each kind of retriever adapted or untouched, whichever fuses best: a student that learned
    from the fusion agrees with it, and one that agrees adds less to it.
    """
    sources = [name for name, member in members.items() if not isinstance(member, LateInteractionMember)]
    everything = System(ids, members, sources, dict.fromkeys(members, 1.0), DEPTH)
    found = list(everything.candidates(held_out.queries))
    weights = {name: {name: 1.0} for name in members}
    reached = {name: alone(found, held_out.answers, name) for name in members}

    def best(groups: Sequence[Sequence[str]]) -> Weighed:
        tried = [choose_weights(found, held_out.answers, parts, trust=trust) for parts in groups]
        return max(tried, key=lambda one: one.ndcg)

    near = 0.0
    for system, groups in {
        HYBRID: [BASE],
        f"{HYBRID}:adapted": _mixtures(members, synthetic=held_out.synthetic),
    }.items():
        if groups:
            weights[system], reached[system], near = best(groups)
    if reranker is not None and HYBRID in rerank:
        reached[f"{HYBRID}+reranker"] = reranker.ndcg
    contending = [name for name in reached if name.endswith((":adapted", "+reranker"))]
    if held_out.synthetic:  # no more trusted to leave members out altogether than to weigh them
        contending = [name for name in contending if name not in members] or contending
    # Of equals the one that answers fastest: a member alone before a hybrid before a reranker.
    candidate = max(contending, key=lambda name: (reached[name], "+" not in name, HYBRID not in name))
    if 0 < reached[candidate] - reached.get(f"{HYBRID}:adapted", -1.0) <= near:
        candidate = f"{HYBRID}:adapted"
    return Chosen(
        weights,
        reranker.weights["reranker"] if reranker is not None else 0.0,
        candidate,
        {name: round(value, 5) for name, value in reached.items()},
    )


def _mixtures(members: Mapping[str, Member], *, synthetic: bool) -> list[list[str]]:
    """The base's members with one or more replaced by what was trained of the same kind.

    BM25 by what is sparse, but not on synthetic queries: they do not show what is lost with it, the one member that no
    encoder has a part in.
    """
    also = {name: f"{name}:adapted" for name in BASE} | ({} if synthetic else {"bm25": "sparse:adapted"})
    options = [[name, also[name]] if also[name] in members else [name] for name in BASE]
    return [list(parts) for parts in product(*options) if any(name.endswith(":adapted") for name in parts)]


def contenders(
    ids: Ids,
    members: Mapping[str, Member],
    chosen: Chosen,
    reranker: Scorer | None,
    sizes: Mapping[str, int],
    *,
    rerank: Sequence[str],
    rerank_depth: int,
) -> list[Contender]:
    """Every system to measure. `sizes` are the bytes of each member's index; `rerank` names those to rerank, too.

    All of them find documents, also where the corpus is one of passages.
    Raises SettingError for a system to rerank that does not exist.
    """
    found: dict[str, Contender] = {}
    for name, weights in chosen.weights.items():
        used = {member: weight for member, weight in weights.items() if weight > 0}
        sources = sources_of(used, members)
        found[name] = Contender(
            name,
            name.removesuffix(":adapted") if name in members else HYBRID,
            name.endswith(":adapted"),
            System(ids, members, sources, used, DEPTH),
            sum(sizes[member] for member in {*used, *sources}),
            used if len(used) > 1 else {},
        )
    for name in rerank if reranker is not None else ():
        if name not in found:
            raise unknown("system to rerank", name, found)
        assert reranker is not None
        found[f"{name}+reranker"] = Contender(
            f"{name}+reranker",
            "reranked",
            True,
            Reranked(found[name].retriever, reranker, rerank_depth, chosen.reranker_weight),
            found[name].index_bytes,
            {name: round(1 - chosen.reranker_weight, 4), "reranker": chosen.reranker_weight},
        )
    if ids.parents:
        return [one._replace(retriever=Folded(one.retriever, ids.parents)) for one in found.values()]
    return list(found.values())


def sources_of(used: Mapping[str, float], members: Mapping[str, Member]) -> list[str]:
    """Who finds the candidates: the members that can, or where there is none, BM25 and the base's dense vectors."""
    able = [name for name in used if isinstance(members[name], BM25Member | DenseMember | SparseMember)]
    return able or ["bm25", "dense"]
