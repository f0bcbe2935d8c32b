"""Choose fusion weights, and the candidate system, on held-out queries (see `stages.steer`)."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from itertools import groupby, product

import numpy as np

from acclimate.base.errors import unknown
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.measure.recommend import effort
from acclimate.records import Query, ScoredDoc, Scorer
from acclimate.search import systems
from acclimate.search.candidates import Candidates, fuse
from acclimate.search.members import Ids, LateInteractionMember, Member
from acclimate.search.names import FEEDBACK, RERANKER, SystemName
from acclimate.search.reranked import reordered
from acclimate.search.scales import as_it_is
from acclimate.search.scorers.lists import score_lists
from acclimate.search.system import System
from acclimate.search.systems import BASE, EQUAL, HYBRID, TUNED, Chosen, sources_of, system_of
from acclimate.search.weights import ChosenWeights, choose_weights, mean_ndcg, relevance_of

_FUSED = "fused"
# (reranked system, its first stage) -> the reranker's weight, and the nDCG@10 it gives
Weigh = Callable[[SystemName, System], ChosenWeights]


def choose(
    ids: Ids,
    members: Mapping[str, Member],
    held_out: JudgedQueries,
    weigh: Weigh,
    *,
    rerank: Sequence[str] = (HYBRID,),
) -> Chosen:
    """Choose weights for the hybrids, and the candidate: the simplest system within tolerance of the best.

    Each system is scored on the candidates of its own sources, as when it serves. `weigh` chooses the weight of a
    reranker behind the systems of `rerank` (see `choose_reranker_weight`). `rerank` names first stages or, as in
    `evaluate.systems`, whole systems; none without a reranker. A reranker with a fixed weight is only measured if it
    competes with another for the candidate, i.e. if no student was trained. The adapted hybrid takes each kind of
    retriever adapted or untouched, whichever fuses best: a student that learned from the fusion agrees with it, and
    adds less to it. The last hybrid is there with feedback, too, if `members` has it. Raises SettingError for an
    unknown system to rerank.
    """
    fusions = _fusions(ids, members, held_out)
    weights = {name: fusion.weights for name, fusion in fusions.items()}
    ndcg = {name: fusion.ndcg for name, fusion in fusions.items()}
    has_students = any(SystemName(name).is_adapted for name in fusions)
    reranked: dict[SystemName, str] = {}
    for name in rerank:
        reranked.setdefault(SystemName(name).reranked(), name)
    must_compete = not has_students and sum(name.is_servable for name in reranked) > 1
    reranker_weights: dict[str, float] = {}
    for name, key in reranked.items():
        if name.weight is not None:
            reranker_weights[key] = name.weight
        if name.is_servable and (name.weight is None or must_compete):
            if name.first not in weights:
                raise unknown("system to rerank", name.first, weights)
            weighed = weigh(name, system_of(ids, members, weights[name.first]))
            reranker_weights[key], ndcg[name] = weighed.weights[RERANKER], weighed.ndcg
    competing = reranked if reranked and not has_students else ndcg
    ndcg = {name: round(value, 5) for name, value in ndcg.items() if name in competing}
    excluded = members if held_out.is_synthetic else ()
    fused = [name for name in (TUNED, HYBRID.adapted()) if name in fusions]
    tolerance = fusions[fused[-1]].tolerance
    candidate = _candidate(ndcg, excluded, tolerance) if ndcg else min(reranked, key=lambda name: not name.is_servable)
    return Chosen(weights, reranker_weights, candidate, ndcg, {name: fusions[name].disagreement for name in fused})


def _fusions(ids: Ids, members: Mapping[str, Member], held_out: JudgedQueries) -> dict[str, ChosenWeights]:
    """Every system without a reranker: single members, fusions with fixed weights, and those with chosen ones."""
    judge = _Judge(ids, members, held_out)
    base = [name for name in BASE if name in members]
    fixed: dict[str, dict[str, float]] = {name: {name: 1.0} for name in members if name != FEEDBACK}
    fixed |= {HYBRID: {}, EQUAL: dict.fromkeys(base, round(1 / len(base), 4))}
    fusions = {name: ChosenWeights(of, judge.ndcg_of(judge.lists(of), of)) for name, of in fixed.items()}
    mixtures = _mixtures(base, members, synthetic=held_out.is_synthetic)
    for name, groups in ((TUNED, [base]), (HYBRID.adapted(), mixtures)):
        if groups:
            fusions[name] = max(map(judge.best_weights, groups), key=lambda fusion: fusion.ndcg)
    last = HYBRID.adapted() if mixtures else TUNED
    if FEEDBACK in members and fusions[last].weights.get("bm25"):
        shares = {FEEDBACK if name == "bm25" else name: weight for name, weight in fusions[last].weights.items()}
        candidates = system_of(ids, members, shares).candidates(held_out.queries)
        fusions[last.with_feedback()] = ChosenWeights(shares, judge.ndcg_of(candidates, shares))
    return fusions


class _Judge:
    """Measures fusions of members on the held-out queries, whose candidates are searched for once."""

    def __init__(self, ids: Ids, members: Mapping[str, Member], held_out: JudgedQueries) -> None:
        alone = [name for name in members if name != FEEDBACK]
        sources = [name for name in alone if not isinstance(members[name], LateInteractionMember)]
        everything = System(ids, members, sources, dict.fromkeys(alone, 1.0), systems.DEPTH)
        self._members, self._pools = members, list(everything.candidates(held_out.queries))
        self._answers = relevance_of(held_out, ids)

    def lists(self, names: Iterable[str]) -> list[Candidates]:
        """The candidates of a system of these members."""
        sources = sources_of(names, self._members)
        return [candidates.named_by(sources) for candidates in self._pools]

    def ndcg_of(self, lists: Iterable[Candidates], weights: Mapping[str, float]) -> float:
        """nDCG@10 of a system that finds these candidates, with these weights."""
        fused = [candidates._replace(scores={_FUSED: fuse(candidates, weights)}) for candidates in lists]
        return mean_ndcg(fused, self._answers, _FUSED, scale=as_it_is)

    def best_weights(self, names: Sequence[str]) -> ChosenWeights:
        """The weights of these members with which their fusion ranks best."""
        return choose_weights(self.lists(names), self._answers, names)


def _candidate(ndcg: Mapping[str, float], excluded: Container[str], tolerance: float) -> str:
    """The system with the least effort, then the highest value, within tolerance of the best that this run made.

    excluded: single members, on synthetic queries. Synthetic queries are not trusted to drop members altogether,
    as a fusion depends least on how realistic they are.
    """
    contending = [name for name in map(SystemName, ndcg) if name.steps and name not in excluded]
    least = max(ndcg[name] for name in contending) - tolerance
    return min(
        (name for name in contending if ndcg[name] >= least),
        key=lambda name: (effort(name.facts), -ndcg[name], name),
    )


def _mixtures(base: Sequence[SystemName], members: Container[str], *, synthetic: bool) -> list[list[SystemName]]:
    """All fusions with one or more of `base` replaced by an adapted one of the same kind among the members.

    A sparse student replaces BM25, but not on synthetic queries: these do not show the loss of the one member without a
    neural encoder.
    """
    trained = {name: name.adapted() for name in base} | ({} if synthetic else {"bm25": SystemName("sparse").adapted()})
    options = [[name, trained[name]] if trained[name] in members else [name] for name in base]
    return [list(names) for names in product(*options) if any(name.is_adapted for name in names)]


def choose_reranker_weight(
    first_stage: System,
    scorer: Scorer,
    held_out: JudgedQueries,
    depth: int,
    weight: float | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ChosenWeights:
    """Choose the weight of a reranker behind `first_stage`, on the documents that it reranks when it serves.

    weight: a fixed weight, else chosen. progress: counts the held-out queries whose documents the scorer has read. The
    nDCG@10 is that of the whole ranking, including what is not reranked.
    """
    ids, answers = first_stage.ids, relevance_of(held_out, first_stage.ids)
    run = groupby(first_stage.search(held_out.queries, max(systems.DEPTH, depth)), key=lambda hit: hit.query_id)
    hits = {query_id: list(ranked) for query_id, ranked in run}
    first = {query: hits.get(query.query_id, [])[:depth] for query in held_out.queries}
    rated = dict[Query, list[float]]()
    for query, scores in score_lists(scorer, [(query, [hit.doc_id for hit in head]) for query, head in first.items()]):
        rated[query] = scores
        progress(len(rated), len(first))
    heads = [
        _candidates(query, head, ids, {"first": [hit.score for hit in head], RERANKER: rated[query]})
        for query, head in first.items()
    ]
    if weight is None:
        weighed = choose_weights(heads, answers, ["first", RERANKER], votes=False)
    else:
        weighed = ChosenWeights({"first": 1 - weight, RERANKER: weight}, 0.0)
    wholes: list[Candidates] = []
    for head in heads:
        scores = head.scores[RERANKER].tolist()
        ranked = reordered(hits.get(head.query.query_id, []), scores, weighed.weights[RERANKER])
        wholes.append(_candidates(head.query, ranked, ids, {"whole": [hit.score for hit in ranked]}))
    return weighed._replace(ndcg=mean_ndcg(wholes, answers, "whole", scale=as_it_is))


def _candidates(query: Query, hits: Sequence[ScoredDoc], ids: Ids, scores: Mapping[str, Sequence[float]]) -> Candidates:
    """A ranking as candidates with these scores."""
    rows = np.array([ids.row[hit.doc_id] for hit in hits], dtype=np.int64)
    by_name = {name: np.array(values, dtype=np.float32) for name, values in scores.items()}
    return Candidates(query, rows, by_name, *ids.documents_of(rows))
