"""What fuses with which weight, and which system is the candidate, chosen on held-out queries.

Held-out means: real queries of a dev split where the collection brings one beside its test split, else synthetic
queries whose documents no training query came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, product

import numpy as np

from acclimate.base.errors import unknown
from acclimate.corpus.judged import Judged
from acclimate.measure.recommend import effort
from acclimate.records import Query, ScoredDoc, Scorer
from acclimate.search import systems
from acclimate.search.candidates import Candidates, fuse
from acclimate.search.members import Ids, LateInteractionMember, Member
from acclimate.search.names import SystemName
from acclimate.search.reranked import reordered
from acclimate.search.scales import as_it_is
from acclimate.search.scorers.lists import rated_lists
from acclimate.search.system import System
from acclimate.search.systems import BASE, EQUAL, HYBRID, RERANKER, TUNED, Chosen, sources_of, system_of
from acclimate.search.weights import Weighed, answers_of, choose_weights, mean_ndcg

_FUSED = "fused"
# A reranked system, and its first stage -> what the reranker counts for behind that, and what they reach
Weigh = Callable[[SystemName, System], Weighed]


def choose(
    ids: Ids,
    members: Mapping[str, Member],
    held_out: Judged,
    weigh: Weigh | None,
    *,
    rerank: Sequence[str] = (HYBRID,),
) -> Chosen:
    """Weights for the hybrids, and what takes least of what does as well as the best on the held-out queries.

    Each is chosen among the candidates that it will have when it serves: those of its own sources. `weigh` weighs a
    reranker behind the systems of `rerank`, see `weigh_reranker`; None where there is none. These are named by what is
    reranked, or whole, as in `evaluate.systems`. Where a name says what the reranker counts for, it is asked only if
    another one could be the candidate in its place: without students, that is a reranked system.
    The adapted hybrid takes each kind of retriever adapted or untouched, whichever fuses best: a student that learned
    from the fusion agrees with it, and one that agrees adds less to it.
    Raises SettingError for a system to rerank that does not exist.
    """
    sources = [name for name, member in members.items() if not isinstance(member, LateInteractionMember)]
    everything = System(ids, members, sources, dict.fromkeys(members, 1.0), systems.DEPTH)
    pools, answers = list(everything.candidates(held_out.queries)), answers_of(held_out, ids)

    def lists(names: Iterable[str]) -> list[Candidates]:
        """What a system of these members finds."""
        sources = sources_of(names, members)
        return [candidates.named_by(sources) for candidates in pools]

    def ndcg_of(names: Iterable[str], weights: Mapping[str, float]) -> float:
        """What a system of these members reaches with these weights."""
        fused = [candidates._replace(scores={_FUSED: fuse(candidates, weights)}) for candidates in lists(names)]
        return mean_ndcg(fused, answers, _FUSED, scale=as_it_is)

    weights: dict[str, dict[str, float]] = {name: {name: 1.0} for name in members}
    base = [name for name in BASE if name in members]
    weights |= {HYBRID: {}, EQUAL: dict.fromkeys(base, round(1 / len(base), 4))}
    reached = {name: ndcg_of(shares, shares) for name, shares in weights.items()}
    tolerance, disagreement = 0.0, dict[str, float]()
    mixtures = _mixtures(members, synthetic=held_out.is_synthetic)
    for system, groups in ((TUNED, [base]), (HYBRID.adapted(), mixtures)):
        if groups:
            fusions = [choose_weights(lists(names), answers, names) for names in groups]
            best = max(fusions, key=lambda fusion: fusion.ndcg)
            weights[system], reached[system], tolerance = best.weights, best.ndcg, best.tolerance
            disagreement[system] = best.disagreement
    reranked: dict[SystemName, str] = {}
    for name in rerank if weigh is not None else ():
        reranked.setdefault(SystemName(name).reranked(), name)
    students = [name for name in map(SystemName, weights) if name.is_adapted]
    must_compete = not students and sum(name.is_servable for name in reranked) > 1
    reranker_weights: dict[str, float] = {}
    for name, key in reranked.items():
        if name.weight is not None:
            reranker_weights[key] = name.weight
        if name.is_servable and (name.weight is None or must_compete):
            if name.first not in weights:
                raise unknown("system to rerank", name.first, weights)
            assert weigh is not None
            weighed = weigh(name, system_of(ids, members, weights[name.first]))
            reranker_weights[key], reached[name] = weighed.weights[RERANKER], weighed.ndcg
    ndcg = {name: round(value, 5) for name, value in reached.items()}
    if reranked and not students:
        reached = {name: value for name, value in reached.items() if name in reranked}
    out_of_question = members if held_out.is_synthetic else ()
    candidate = _candidate(reached, out_of_question, tolerance) if reached else next(iter(reranked))
    return Chosen(weights, reranker_weights, candidate, ndcg, disagreement)


def _candidate(reached: Mapping[str, float], out_of_question: Iterable[str], tolerance: float) -> str:
    """What takes least, and then is best, of all that this run made and that comes within the tolerance of the best.

    out_of_question: on synthetic queries, the members alone. A fusion depends least on how far these are like people's,
    and they are no more trusted to leave members out altogether than to weigh them.
    """
    contending = [name for name in map(SystemName, reached) if name.steps and name not in out_of_question]
    least = max(reached[name] for name in contending) - tolerance
    return min(
        (name for name in contending if reached[name] >= least),
        key=lambda name: (effort(name.facts), -reached[name], name),
    )


def _mixtures(members: Mapping[str, Member], *, synthetic: bool) -> list[list[SystemName]]:
    """The base's members with one or more replaced by what was trained of the same kind.

    BM25 by what is sparse, but not on synthetic queries: they do not show what is lost with it, the one member that no
    encoder has a part in.
    """
    base = [name for name in BASE if name in members]
    trained = {name: name.adapted() for name in base} | ({} if synthetic else {"bm25": SystemName("sparse").adapted()})
    options = [[name, trained[name]] if trained[name] in members else [name] for name in base]
    return [list(names) for names in product(*options) if any(name.is_adapted for name in names)]


def weigh_reranker(
    first_stage: System, scorer: Scorer, held_out: Judged, depth: int, weight: float | None = None
) -> Weighed:
    """What a reranker counts for behind `first_stage`, over the documents that it will put in order when it serves.

    weight: what it counts for, where that is not to be chosen. The nDCG@10 is that of the whole ranking, which goes on
    below them.
    """
    ids, answers = first_stage.ids, answers_of(held_out, first_stage.ids)
    run = groupby(first_stage.search(held_out.queries, max(systems.DEPTH, depth)), key=lambda hit: hit.query_id)
    hits = {query_id: list(ranked) for query_id, ranked in run}
    first = {query: hits.get(query.query_id, [])[:depth] for query in held_out.queries}
    rated = dict(rated_lists(scorer, [(query, [hit.doc_id for hit in head]) for query, head in first.items()]))
    heads = [
        _candidates(query, head, ids, {"first": [hit.score for hit in head], RERANKER: rated[query]})
        for query, head in first.items()
    ]
    if weight is None:
        weighed = choose_weights(heads, answers, ["first", RERANKER], votes=False)
    else:
        weighed = Weighed({"first": 1 - weight, RERANKER: weight}, 0.0)
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
