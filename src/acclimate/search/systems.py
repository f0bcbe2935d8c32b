"""The systems that are compared, put together from members, with the weights chosen on held-out queries.

Held-out means: real queries of a dev split where the collection brings one beside its test split, else synthetic
queries whose documents no training query came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from acclimate.base.errors import unknown
from acclimate.corpus.judged import Judged
from acclimate.records import Query, Retriever, ScoredDoc, Scorer
from acclimate.search.folded import Folded
from acclimate.search.members import BM25Member, DenseMember, Ids, LateInteractionMember, Member, SparseMember
from acclimate.search.names import KINDS_WITHOUT_BASE, SystemName
from acclimate.search.reranked import Reranked, reordered
from acclimate.search.scales import as_it_is
from acclimate.search.system import Candidates, System
from acclimate.search.weights import Weighed, alone, choose_weights, row_grades

HYBRID, RERANKER = SystemName("hybrid"), "reranker"
BASE = tuple(map(SystemName, ("bm25", "dense", "late-interaction")))
DEPTH = 100


class Contender(NamedTuple):
    """A system to be measured."""

    name: SystemName
    retriever: Retriever
    index_bytes: int
    weights: dict[str, float]


class Chosen(NamedTuple):
    """Weights and the candidate, with what each system reached on the held-out queries."""

    weights: dict[str, dict[str, float]]  # system -> member -> weight
    reranker_weights: dict[str, float]  # system that is reranked -> what the reranker counts for
    candidate: str
    ndcg: dict[str, float]  # system -> mean nDCG@10


def check_reranked(names: Iterable[str], kinds: Sequence[str]) -> None:
    """Raises SettingError for a system to rerank that a run with students of these kinds will not have."""
    adapted = [SystemName(kind).adapted() for kind in (*kinds, HYBRID)]
    known = [*BASE, HYBRID, *(kind for kind in kinds if kind in KINDS_WITHOUT_BASE), *adapted]
    for name in names:
        if name not in known:
            raise unknown("system to rerank (evaluate.rerank)", name, known)


def choose(
    ids: Ids,
    members: Mapping[str, Member],
    held_out: Judged,
    behind: Callable[[System], Weighed] | None,
    *,
    trust: float,
    rerank: Sequence[str] = (HYBRID,),
) -> Chosen:
    """Weights for the hybrids, and the adapted system that does best on the held-out queries.

    Each is chosen among the candidates that it will have when it serves: those of its own sources. `behind` weighs a
    reranker behind the systems that `rerank` names, see `weigh_reranker`.
    A system that is better than the adapted hybrid by next to nothing gives way to it, and on synthetic queries a
    member alone always does: a fusion depends least on how far the held-out queries are like people's.
    The adapted hybrid takes each kind of retriever adapted or untouched, whichever fuses best: a student that learned
    from the fusion agrees with it, and one that agrees adds less to it.
    Raises SettingError for a system to rerank that does not exist.
    """
    able = [name for name, member in members.items() if not isinstance(member, LateInteractionMember)]
    everything = System(ids, members, able, dict.fromkeys(members, 1.0), DEPTH)
    found, answers = list(everything.candidates(held_out.queries)), row_grades(held_out, ids)

    def candidates(names: Iterable[str]) -> list[Candidates]:
        sources = sources_of(names, members)
        return [one.of(sources) for one in found]

    weights = {name: {name: 1.0} for name in members}
    reached = {name: alone(candidates([name]), answers, name, scale=as_it_is) for name in members}

    def best(groups: Sequence[Sequence[str]]) -> Weighed:
        tried = [choose_weights(candidates(parts), answers, parts, trust=trust) for parts in groups]
        return max(tried, key=lambda one: one.ndcg)

    near = 0.0
    for system, groups in {
        HYBRID: [BASE],
        HYBRID.adapted(): _mixtures(members, synthetic=held_out.is_synthetic),
    }.items():
        if groups:
            weights[system], reached[system], near = best(groups)
    reranker_weights: dict[str, float] = {}
    for name in rerank if behind is not None else ():
        if name not in weights:
            raise unknown("system to rerank", name, weights)
        assert behind is not None
        weighed = behind(system_of(ids, members, weights[name]))
        reranker_weights[name], reached[SystemName(name).reranked()] = weighed.weights[RERANKER], weighed.ndcg
    contending = [name for name in map(SystemName, reached) if name.is_adapted]
    if held_out.is_synthetic:  # no more trusted to leave members out altogether than to weigh them
        contending = [name for name in contending if name not in members] or contending
    # Of equals the one that answers fastest: a member alone before a hybrid before a reranker.
    candidate = max(contending, key=lambda name: (reached[name], not name.is_reranked, name.retriever != HYBRID))
    if 0 < reached[candidate] - reached.get(HYBRID.adapted(), -1.0) <= near:
        candidate = HYBRID.adapted()
    return Chosen(weights, reranker_weights, candidate, {name: round(value, 5) for name, value in reached.items()})


def weigh_reranker(first: System, scorer: Scorer, held_out: Judged, depth: int) -> Weighed:
    """What a reranker counts for behind `first`, over the very documents that it will put in order when it serves.

    The nDCG@10 is that of the whole ranking, which goes on below them.
    """
    answers = row_grades(held_out, first.ids)
    found: dict[str, list[ScoredDoc]] = {query.query_id: [] for query in held_out.queries}
    for hit in first.search(held_out.queries, max(DEPTH, depth)):
        found[hit.query_id].append(hit)
    rated = {
        query.query_id: scorer.score([(query, hit.doc_id) for hit in found[query.query_id][:depth]])
        for query in held_out.queries
    }

    def ranked(query: Query, hits: Sequence[ScoredDoc], **scores: Sequence[float]) -> Candidates:
        rows = np.array([first.ids.row[hit.doc_id] for hit in hits], dtype=np.int64)
        documents = None if first.ids.documents is None else first.ids.documents[rows]
        by_name = {name: np.array(values, dtype=np.float32) for name, values in scores.items()}
        return Candidates(query, rows, by_name, documents, first.ids.document_rank[rows])

    heads: list[Candidates] = []
    for query in held_out.queries:
        head = found[query.query_id][:depth]
        heads.append(ranked(query, head, first=[hit.score for hit in head], reranker=rated[query.query_id]))
    chosen = choose_weights(heads, answers, ["first", RERANKER], trust=1.0)
    wholes: list[Candidates] = []
    for query in held_out.queries:
        hits = reordered(found[query.query_id], rated[query.query_id], chosen.weights[RERANKER])
        wholes.append(ranked(query, hits, whole=[hit.score for hit in hits]))
    return chosen._replace(ndcg=alone(wholes, answers, "whole", scale=as_it_is))


def _mixtures(members: Mapping[str, Member], *, synthetic: bool) -> list[list[str]]:
    """The base's members with one or more replaced by what was trained of the same kind.

    BM25 by what is sparse, but not on synthetic queries: they do not show what is lost with it, the one member that no
    encoder has a part in.
    """
    also = {name: name.adapted() for name in BASE} | ({} if synthetic else {"bm25": SystemName("sparse").adapted()})
    options = [[name, also[name]] if also[name] in members else [name] for name in BASE]
    return [list(parts) for parts in product(*options) if any(name.is_adapted for name in parts)]


def contenders(
    ids: Ids,
    members: Mapping[str, Member],
    chosen: Chosen,
    reranker: Scorer | None,
    sizes: Mapping[str, int],
    *,
    rerank_depth: int,
) -> list[Contender]:
    """Every system to measure, those with the reranker behind them last. `sizes` are the bytes of members' indexes.

    All of them find documents, also where the corpus is one of passages.
    """
    found: dict[str, Contender] = {}
    for name, weights in chosen.weights.items():
        used = {member: weight for member, weight in weights.items() if weight > 0}
        system = system_of(ids, members, weights)
        found[name] = Contender(
            SystemName(name),
            system,
            sum(sizes[member] for member in {*used, *system.sources}),
            used if len(used) > 1 else {},
        )
    for name, weight in chosen.reranker_weights.items() if reranker is not None else ():
        assert reranker is not None
        reranked = SystemName(name).reranked()
        found[reranked] = Contender(
            reranked,
            Reranked(found[name].retriever, reranker, rerank_depth, weight),
            found[name].index_bytes,
            {name: round(1 - weight, 4), RERANKER: weight},
        )
    if ids.parents:
        return [one._replace(retriever=Folded(one.retriever, ids.parents)) for one in found.values()]
    return list(found.values())


def system_of(ids: Ids, members: Mapping[str, Member], weights: Mapping[str, float]) -> System:
    """The system of these weights. A member whose weight came out as 0 finds candidates as when it was chosen."""
    used = {name: weight for name, weight in weights.items() if weight > 0}
    return System(ids, members, sources_of(weights, members), used, DEPTH)


def sources_of(names: Iterable[str], members: Mapping[str, Member]) -> list[str]:
    """Who finds the candidates: the members that can, or where there is none, BM25 and the base's dense vectors."""
    able = [name for name in names if isinstance(members[name], BM25Member | DenseMember | SparseMember)]
    return able or ["bm25", "dense"]
