"""The systems that are compared and served, put together from members and the weights that were chosen for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from acclimate.base.errors import unknown
from acclimate.records import Retriever, Scorer
from acclimate.search.folded import Folded
from acclimate.search.members import BM25Member, DenseMember, Ids, Member, SparseMember
from acclimate.search.names import KINDS_WITHOUT_BASE, SystemName
from acclimate.search.reranked import Reranked
from acclimate.search.system import System

HYBRID = SystemName("hybrid")  # reciprocal ranks of BM25 and dense retrieval added, as search engines do
EQUAL = SystemName("hybrid:equal")  # scores of BM25, dense retrieval and late interaction added, in equal parts
TUNED = SystemName("hybrid:tuned")  # the same with weights chosen for these documents
RERANKER = "reranker"
BASE = tuple(map(SystemName, ("bm25", "dense", "late-interaction")))
DEPTH = 100


class Chosen(NamedTuple):
    """Weights and the candidate, with what each system reached on the held-out queries: see `choice.choose`."""

    weights: dict[str, dict[str, float]]  # system -> member -> weight; of the hybrid, whose ranks are added, none
    reranker_weights: dict[str, float]  # system that is reranked -> what the reranker counts for
    candidate: str  # the system that the verdict is about
    ndcg: dict[str, float]  # system -> mean nDCG@10
    disagreement: Mapping[str, float] = MappingProxyType({})  # fusion -> of groups of queries about its weights, 0 to 1


class Contender(NamedTuple):
    """A system to be measured."""

    name: SystemName
    retriever: Retriever
    index_bytes: int
    weights: dict[str, float]  # of a fusion; empty for a member alone, and where ranks are added


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
    systems: dict[str, Contender] = {}
    for name, weights in chosen.weights.items():
        system = system_of(ids, members, weights)
        used = {member: weight for member, weight in weights.items() if weight > 0}
        index_bytes = sum(sizes[member] for member in {*used, *system.sources})
        systems[name] = Contender(SystemName(name), system, index_bytes, used if len(used) > 1 else {})
    if reranker is not None:
        for name, weight in chosen.reranker_weights.items():
            first_stage = systems[name]
            systems[first_stage.name.reranked()] = Contender(
                first_stage.name.reranked(),
                Reranked(first_stage.retriever, reranker, rerank_depth, weight),
                first_stage.index_bytes,
                {name: round(1 - weight, 4), RERANKER: weight},
            )
    return [system._replace(retriever=of_documents(system.retriever, ids)) for system in systems.values()]


def system_of(ids: Ids, members: Mapping[str, Member], weights: Mapping[str, float]) -> System:
    """The system of these weights; of none, reciprocal rank fusion of BM25 and the base's dense vectors.

    A member whose weight came out as 0 finds candidates as when it was chosen.
    """
    used = {name: weight for name, weight in weights.items() if weight > 0}
    return System(ids, members, sources_of(weights, members), used, DEPTH)


def sources_of(names: Iterable[str], members: Mapping[str, Member]) -> list[str]:
    """Who finds the candidates: the members that can, or where there is none, BM25 and the base's dense vectors."""
    sources = [name for name in names if isinstance(members[name], BM25Member | DenseMember | SparseMember)]
    return sources or ["bm25", "dense"]


def of_documents(retriever: Retriever, ids: Ids) -> Retriever:
    """The same, finding documents also where the corpus is one of passages."""
    return Folded(retriever, ids.parents) if ids.parents else retriever


def check_reranked(names: Iterable[str], kinds: Sequence[str]) -> None:
    """Raises SettingError for a system to rerank that a run with students of these kinds will not have."""
    adapted = [SystemName(kind).adapted() for kind in (*kinds, HYBRID)]
    known = [*BASE, HYBRID, EQUAL, TUNED, *(kind for kind in kinds if kind in KINDS_WITHOUT_BASE), *adapted]
    for name in names:
        if name not in known:
            raise unknown("system to rerank (evaluate.rerank)", name, known)


def pairs_to_compare(names: Sequence[SystemName], baseline: str) -> list[tuple[str, str]]:
    """Each system that nobody has before a run with the baseline, and with what it was made from."""
    pairs: list[tuple[str, str]] = []
    for name in names:
        if not name.is_untouched:
            systems = dict.fromkeys([baseline, name.origin])
            pairs += [(name, system) for system in systems if system in names and system != name]
    return pairs


def steps(names: Sequence[SystemName]) -> list[tuple[str, SystemName]]:
    """The steps from the hybrid to the adapted one, then those to reranked systems: what each adds, and what it makes.

    Only those of which both sides are among `names`.
    """
    whole = {EQUAL: "late interaction", TUNED: "weights chosen here", HYBRID.adapted(): "adapted students"}
    whole |= {name: "reranker" for name in names if name.is_reranked}
    return [(step, name) for name, step in whole.items() if {name, name.origin} <= {*names}]
