"""The systems to compare and to serve, built from members and chosen weights."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from acclimate.base.errors import SettingError, unknown
from acclimate.base.text import quoted
from acclimate.records import Retriever, Scorer
from acclimate.search.feedback import FeedbackMember
from acclimate.search.max_passage import MaxPassage
from acclimate.search.members import BM25Member, DenseMember, Ids, Member, SparseMember
from acclimate.search.names import FEEDBACK, FIRST_STAGE, KINDS_WITHOUT_BASE, RERANKER, SystemName
from acclimate.search.reranked import Reranked
from acclimate.search.scorers import named
from acclimate.search.system import System
from acclimate.search.views import Views

HYBRID = SystemName("hybrid")  # reciprocal rank fusion of BM25 and dense retrieval, as in search engines
EQUAL = SystemName("hybrid:equal")  # scores of all members of `BASE` added with equal weights
TUNED = SystemName("hybrid:tuned")  # the same with weights chosen for these documents
LATE_INTERACTION = SystemName("late-interaction")  # absent from runs without token vectors
BASE = (*map(SystemName, ("bm25", "dense")), LATE_INTERACTION)
DEPTH = 100


class Chosen(NamedTuple):
    """The weights and the candidate chosen on held-out queries, with each system's nDCG@10: see `choice.choose`."""

    weights: dict[str, dict[str, float]]  # system -> member -> weight; empty for reciprocal rank fusion
    # First stage, or reranked system as `evaluate.systems` names it -> the reranker's weight.
    reranker_weights: dict[str, float]
    candidate: str  # the system that the verdict is about
    ndcg: dict[str, float]  # system -> mean nDCG@10
    # Fusion -> disagreement of query groups about its weights, 0 to 1.
    disagreement: Mapping[str, float] = MappingProxyType({})

    @property
    def reranked(self) -> dict[SystemName, float]:
        """Reranked system -> the reranker's weight."""
        return {SystemName(name).reranked(): weight for name, weight in self.reranker_weights.items()}

    def only(self, name: SystemName) -> Chosen:
        """What the system of that name needs, including its first stage."""
        reranked = {part: each for part, each in self.reranker_weights.items() if SystemName(part).reranked() == name}
        return self._replace(weights={name.first: self.weights[name.first]}, reranker_weights=reranked)


class Contender(NamedTuple):
    """A system to be measured."""

    name: SystemName
    retriever: Retriever
    index_bytes: int
    weights: dict[str, float]  # of a fusion; empty for a single member, and for rank fusion
    serving: Retriever | None = None  # the same without caches and shared views, for timing; None: itself
    is_trained: bool = True  # False if its reranker was provided
    depth: int = 0  # documents that are reranked

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
    """Every system to measure, reranked ones last. `sizes`: bytes of members' indexes.

    rerankers: by name as in system names; systems with other rerankers are left out. first_stage: a provided run.
    views: shared by all, see `System`. All return documents, also if the corpus was split into passages.
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
            depth = name.depth or rerank_depth
            reranked = Reranked(first.retriever, rerankers[name.reranker], depth, weight)
            shares = {str(name.first): round(1 - weight, 4), name.reranker: weight}
            shares = {part: share for part, share in shares.items() if share}
            systems[name] = Contender(name, reranked, first.index_bytes, shares, depth=depth)
    return [system._replace(retriever=of_documents(system.retriever, ids)) for system in systems.values()]


def system_of(
    ids: Ids, members: Mapping[str, Member], weights: Mapping[str, float], views: Views | None = None
) -> System:
    """The system of these weights; without weights, reciprocal rank fusion of BM25 and the base's dense vectors.

    A member with weight 0 still finds candidates, as when the weights were chosen. `FEEDBACK` takes its terms from what
    the same fusion finds with BM25 in its place.
    """
    used = {name: weight for name, weight in weights.items() if weight > 0}
    if FEEDBACK in weights:
        feedback = members[FEEDBACK]
        assert isinstance(feedback, FeedbackMember)
        first = system_of(
            ids, members, {"bm25" if name == FEEDBACK else name: weight for name, weight in weights.items()}
        )
        members = ChainMap({FEEDBACK: replace(feedback, first=first)}, members)  # pyright: ignore[reportArgumentType]
    return System(ids, members, sources_of(weights, members), used, DEPTH, views)


def sources_of(names: Iterable[str], members: Mapping[str, Member]) -> list[str]:
    """The members that find candidates; if none of them can, BM25 and the base's dense vectors."""
    sources = [name for name in names if isinstance(members[name], BM25Member | DenseMember | SparseMember)]
    return sources or ["bm25", "dense"]


def of_documents(retriever: Retriever, ids: Ids) -> Retriever:
    """The retriever, returning documents also if the corpus was split into passages."""
    return MaxPassage(retriever, ids.parents) if ids.parents else retriever


def first_stages(kinds: Sequence[str]) -> list[SystemName]:
    """The systems without a reranker in a run with students of these kinds."""
    adapted = [SystemName(kind).adapted() for kind in (*kinds, HYBRID)] if kinds else []
    starts = [SystemName(kind) for kind in kinds if kind in KINDS_WITHOUT_BASE]
    return [*BASE, HYBRID, EQUAL, TUNED, *starts, *adapted]


def check_reranked(names: Iterable[str], kinds: Sequence[str]) -> None:
    """Raises SettingError for a system to rerank that a run with students of these kinds lacks."""
    for name in names:
        if name not in (known := first_stages(kinds)):
            raise unknown("system to rerank (evaluate.rerank)", name, known)


def check_systems(names: Iterable[str], known: Iterable[str]) -> None:
    """Raises SettingError for an invalid name in `evaluate.systems`. known: what can be reranked."""
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
                f"{where}: a run has no queries to choose a weight on; give it, as in {name}=1 (the reranker alone)"
            )


def pairs_to_compare(names: Sequence[SystemName], baseline: str) -> list[tuple[str, str]]:
    """(system, compared with) pairs: each new system with the baseline and with its origin.

    A system that reranks an adapted retriever is also compared with the one that reranks that retriever's origin.
    """
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
    """(what it adds, from, to) for the steps from the hybrid to the adapted one, then to reranked systems.

    Only steps with both sides among `names`.
    """
    joined = "late interaction" if LATE_INTERACTION in names else "scores added"
    whole = {EQUAL: joined, TUNED: "weights chosen here", HYBRID.adapted(): "adapted students"}
    whole |= {name: "feedback" for name in names if name.has_feedback and not name.is_reranked}
    whole |= {name: "reranker" for name in names if name.is_reranked}
    return [(step, name.origin, name) for name, step in whole.items() if {name, name.origin} <= {*names}]
