"""The systems that are compared and served, put together from members and the weights that were chosen for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from acclimate.base.errors import SettingError, unknown
from acclimate.base.text import quoted
from acclimate.records import Retriever, Scorer
from acclimate.search.folded import Folded
from acclimate.search.members import BM25Member, DenseMember, Ids, Member, SparseMember
from acclimate.search.names import FIRST_STAGE, KINDS_WITHOUT_BASE, RERANKER, SystemName
from acclimate.search.reranked import Reranked
from acclimate.search.scorers import named
from acclimate.search.system import System
from acclimate.search.views import Views

HYBRID = SystemName("hybrid")  # reciprocal ranks of BM25 and dense retrieval added, as search engines do
EQUAL = SystemName("hybrid:equal")  # scores of all that are in `BASE` added, in equal parts
TUNED = SystemName("hybrid:tuned")  # the same with weights chosen for these documents
LATE_INTERACTION = SystemName("late-interaction")  # which a run without token vectors does not have
BASE = (*map(SystemName, ("bm25", "dense")), LATE_INTERACTION)
DEPTH = 100


class Chosen(NamedTuple):
    """Weights and the candidate, with what each system reached on the held-out queries: see `choice.choose`."""

    weights: dict[str, dict[str, float]]  # system -> member -> weight; of the hybrid, whose ranks are added, none
    # What is reranked, or as `evaluate.systems` names it the reranked system -> what the reranker counts for
    reranker_weights: dict[str, float]
    candidate: str  # the system that the verdict is about
    ndcg: dict[str, float]  # system -> mean nDCG@10
    disagreement: Mapping[str, float] = MappingProxyType({})  # fusion -> of groups of queries about its weights, 0 to 1

    @property
    def reranked(self) -> dict[SystemName, float]:
        """Reranked system -> what its reranker counts for."""
        return {SystemName(name).reranked(): weight for name, weight in self.reranker_weights.items()}

    def only(self, name: SystemName) -> Chosen:
        """What the system of that name takes, with the one that it re-ranks."""
        reranked = {part: each for part, each in self.reranker_weights.items() if SystemName(part).reranked() == name}
        return self._replace(weights={name.first: self.weights[name.first]}, reranker_weights=reranked)


class Contender(NamedTuple):
    """A system to be measured."""

    name: SystemName
    retriever: Retriever
    index_bytes: int
    weights: dict[str, float]  # of a fusion; empty for a member alone, and where ranks are added
    serving: Retriever | None = None  # the same, with nothing kept and nothing shared: what is timed; None: it
    is_trained: bool = True  # False for one reranked by what somebody else trained

    @property
    def facts(self) -> dict[str, Any]:
        """What a report says of it before it is measured."""
        return self.name.facts | {"adapted": self.name.is_adapted and (self.is_trained or self.name.first.is_adapted)}


def contenders(
    ids: Ids,
    members: Mapping[str, Member],
    chosen: Chosen,
    rerankers: Mapping[str, Scorer],
    sizes: Mapping[str, int],
    *,
    rerank_depth: int,
    first_stage: Retriever | None = None,
    views: Views | None = None,
) -> list[Contender]:
    """Every system to measure, those with a reranker behind them last. `sizes` are the bytes of members' indexes.

    rerankers: by the names that systems have them by; systems with others are left out. first_stage: of the system of
    that name. views: that they share, see `System`. All of them find documents, also where the corpus is one of
    passages.
    """
    systems: dict[str, Contender] = {}
    if first_stage is not None:
        systems[FIRST_STAGE] = Contender(SystemName(FIRST_STAGE), first_stage, 0, {})
    for name, weights in chosen.weights.items():
        system = system_of(ids, members, weights, views)
        used = {member: weight for member, weight in weights.items() if weight > 0}
        index_bytes = sum(sizes[member] for member in {*used, *system.sources})
        systems[name] = Contender(SystemName(name), system, index_bytes, used if len(used) > 1 else {})
    for name, weight in chosen.reranked.items():
        if name.reranker in rerankers and name.first in systems:
            first = systems[name.first]
            reranked = Reranked(first.retriever, rerankers[name.reranker], name.depth or rerank_depth, weight)
            shares = {str(name.first): round(1 - weight, 4), name.reranker: weight}
            shares = {part: share for part, share in shares.items() if share}
            systems[name] = Contender(name, reranked, first.index_bytes, shares)
    return [system._replace(retriever=of_documents(system.retriever, ids)) for system in systems.values()]


def system_of(
    ids: Ids, members: Mapping[str, Member], weights: Mapping[str, float], views: Views | None = None
) -> System:
    """The system of these weights; of none, reciprocal rank fusion of BM25 and the base's dense vectors.

    A member whose weight came out as 0 finds candidates as when it was chosen.
    """
    used = {name: weight for name, weight in weights.items() if weight > 0}
    return System(ids, members, sources_of(weights, members), used, DEPTH, views)


def sources_of(names: Iterable[str], members: Mapping[str, Member]) -> list[str]:
    """Who finds the candidates: the members that can, or where there is none, BM25 and the base's dense vectors."""
    sources = [name for name in names if isinstance(members[name], BM25Member | DenseMember | SparseMember)]
    return sources or ["bm25", "dense"]


def of_documents(retriever: Retriever, ids: Ids) -> Retriever:
    """The retriever, finding documents also where the corpus is one of passages."""
    return Folded(retriever, ids.parents) if ids.parents else retriever


def first_stages(kinds: Sequence[str]) -> list[SystemName]:
    """The systems without a reranker that a run with students of these kinds will have."""
    adapted = [SystemName(kind).adapted() for kind in (*kinds, HYBRID)] if kinds else []
    starts = [SystemName(kind) for kind in kinds if kind in KINDS_WITHOUT_BASE]
    return [*BASE, HYBRID, EQUAL, TUNED, *starts, *adapted]


def check_reranked(names: Iterable[str], kinds: Sequence[str]) -> None:
    """Raises SettingError for a system to rerank that a run with students of these kinds will not have."""
    for name in names:
        if name not in (known := first_stages(kinds)):
            raise unknown("system to rerank (evaluate.rerank)", name, known)


def check_systems(names: Iterable[str], known: Iterable[str]) -> None:
    """Raises SettingError for a name of `evaluate.systems` of which a part is none. known: what can be reranked."""
    for name in map(SystemName, names):
        where = f"evaluate.systems has {quoted(name)}"
        if name.first not in (first_stages := list(known)):
            raise SettingError(f"{where}: {unknown('system', name.first, first_stages)}")
        if not name.is_reranked:
            continue
        if name.reranker != RERANKER and name.reranker.partition(":")[0] not in named.KINDS:
            kinds = ", ".join(f"{kind}:MODEL" for kind in named.KINDS)
            raise SettingError(f"{where}: no reranker named {quoted(name.reranker)}; expected {RERANKER}, {kinds}")
        if name.depth == 0 or not 0 < (1 if name.weight is None else name.weight) <= 1:
            raise SettingError(f"{where}; expected @DEPTH of 1 or more and =WEIGHT above 0, to 1")
        if name.weight is None and not name.is_servable:
            raise SettingError(
                f"{where}: a run has no queries to choose a weight on; expected it, as in {name}=1 (the reranker alone)"
            )


def pairs_to_compare(names: Sequence[SystemName], baseline: str) -> list[tuple[str, str]]:
    """Each system that nobody has before a run with the baseline, and with what it was made from; one that reranks an
    adapted retriever also with what reranks those that this was made from."""
    pairs: list[tuple[str, str]] = []
    for name in names:
        if not name.is_untouched:
            systems = dict.fromkeys([baseline, name.origin])
            origin = name.first
            while name.is_reranked and origin.origin != origin:
                origin = origin.origin
                systems[SystemName(f"{origin}+{name.partition('+')[2]}")] = None
            pairs += [(name, system) for system in systems if system in names and system != name]
    return pairs


def steps(names: Sequence[SystemName]) -> list[tuple[str, SystemName, SystemName]]:
    """The steps from the hybrid to the adapted one, then those to reranked systems: what each adds, from what, to what.

    Only those of which both sides are among `names`.
    """
    joined = "late interaction" if LATE_INTERACTION in names else "scores added"
    whole = {EQUAL: joined, TUNED: "weights chosen here", HYBRID.adapted(): "adapted students"}
    whole |= {name: "reranker" for name in names if name.is_reranked}
    return [(step, name.origin, name) for name, step in whole.items() if {name, name.origin} <= {*names}]
