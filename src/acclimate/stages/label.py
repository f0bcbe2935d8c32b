"""A teacher rates each query's candidates: an ensemble of scorers over one shared list.

Retrievers have scored the candidates as they found them; rerankers and LLMs are asked about the best of them, each pair
of query and document once. Scores are brought to one scale per teacher and added with weights (see `stages.teachers`),
or teach one after the other (`sequential`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np

from acclimate.base.domains import Above, Between, OneOf
from acclimate.base.errors import SettingError
from acclimate.corpus.judged import Judged
from acclimate.learn.teachers.rating import Ratings
from acclimate.learn.teachers.selection import (
    CHOSEN,
    FALSE_NEGATIVES,
    MODES,
    RERANKER,
    check_teaching,
    choose_teachers,
    fuse_retrievers,
    in_turn,
    teaches,
)
from acclimate.records import NWay, Scorer, SyntheticQuery
from acclimate.run.settings import checked
from acclimate.search import candidates
from acclimate.search.candidates import Candidates, Find, min_max
from acclimate.search.members import Ids
from acclimate.search.scales import NAMES, Scale, bounds, combine, scale
from acclimate.search.weights import row_grades

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Turn(NamedTuple):
    """Candidates with a teacher's scores in [0, 1], source document first."""

    teacher: str
    train: list[NWay]
    dev: list[NWay]


class Labelled(NamedTuple):
    """What students learn from, and who the teacher is."""

    turns: list[Turn]  # one, or where teachers teach one after the other, one for each
    weights: dict[str, float]  # of the teacher
    teachers: list[dict[str, Any]]  # name, its nDCG@10 alone on held-out queries, weight, whether used, why
    entropy: float  # mean of the teacher's scores as a distribution over its list, in shares of the uniform one
    dropped: dict[str, int]
    rated: Iterable[dict[str, Any]]  # every teacher's raw and normalized scores, a query at a time, to be read once
    scale: dict[str, Any]  # of the normalized scores
    ties: dict[str, dict[str, int]]  # by teacher: lists, those tied at the top, those of equal scores altogether
    false_negatives: int  # candidates rated above the share of the source document's score

    @property
    def train(self) -> list[NWay]:
        """What the first teacher says of the training queries."""
        return self.turns[0].train

    @property
    def dev(self) -> list[NWay]:
        """What the first teacher says of the held-out queries."""
        return self.turns[0].dev


@checked
def label(
    train: Sequence[SyntheticQuery],
    dev: Sequence[SyntheticQuery],
    held_out: Judged,
    find: Find,
    ids: Ids,
    members: Sequence[str],
    scorers: Mapping[str, Scorer],
    *,
    teachers: tuple[str, ...] = ("bm25", "dense", "late-interaction", RERANKER),
    normalize: Annotated[str, OneOf(NAMES)] = "min-max",
    weights: str = CHOSEN,
    mode: Annotated[str, OneOf(MODES)] = "mean",
    n_ways: Annotated[int, Between(2, 100_000)] = 100,
    reranker_ways: Annotated[int, Between(2, 100_000)] = 20,
    min_gain: Annotated[float, Between(-1, 1)] = 0.002,
    trust: Annotated[float, Between(0, 1)] = 0.5,
    false_negatives: Annotated[str, OneOf(FALSE_NEGATIVES)] = "keep",
    false_negative_share: Annotated[float, Above(0)] = 0.95,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Labelled:
    """Choose the teacher on `held_out`, then let it rate the candidates of every synthetic query.

    `find` gives candidates scored by `members`, the source of a synthetic query among them wherever it ranks. Scorers,
    which cost far more, rate the `reranker_ways` best of their fusion: for the held-out queries to show what they are
    worth, for the others only if they are worth something. What they do not rate counts as the worst that they rated;
    where no retriever teaches, it is left out.
    Raises DataError without held-out queries: a teacher that nothing was chosen for would be a guess; and for a score
    that is no number. Raises SettingError for settings that cannot be.

    Parameters
    ----------
    teachers
        Who may teach: bm25, dense, late-interaction, reranker (all that train made), and models as scorers:
        cross-encoder:MODEL, monot5:MODEL, decoder:MODEL, yes-no:LLM, likelihood:LLM.
    normalize
        The scale on which teachers are added: min-max, rank or z (per list), or percentile (over all lists).
    weights
        chosen (on held-out queries), equal, or numbers by name: bm25=.3,dense=.7.
    mode
        mean (teachers are added) or sequential (a student learns from one after the other).
    n_ways
        Candidates that the teacher rates per query, the source document among them.
    reranker_ways
        How many of them, the best, rerankers and other scorers rate.
    min_gain
        nDCG@10 on held-out queries that a scorer must add, or it does not teach.
    trust
        How far weights follow held-out synthetic queries, 0 (equal weights) to 1; real ones are followed all the way.
    false_negatives
        Candidates rated near the source document: keep (with their scores), drop, or positive (with its score).
    false_negative_share
        Of the source document's score: what is rated above it counts as a false negative.
    """
    check_teaching(teachers=teachers, weights=weights)
    equal = dict.fromkeys(members, 1 / len(members))
    found = [candidates.best(one, ids, equal, n_ways) for one in find(held_out.queries, ())]
    teaching = [name for name in members if teaches(name, teachers)]
    if not teaching and not any(teaches(name, teachers) for name in scorers):
        raise SettingError(f"label.teachers is {','.join(teachers)}; there are {', '.join([*members, *scorers])}")
    answers, trust = row_grades(held_out, ids), trust if held_out.is_synthetic else 1.0
    fusion = fuse_retrievers(found, answers, teaching or members, normalize, trust)
    ratings = Ratings(scorers, ids, progress)
    first = [candidates.best_places(one, ids, fusion.weights, reranker_ways) for one in found]
    found = ratings.rate(found, list(scorers), first)
    able = [*members, *scorers]
    chosen = choose_teachers(
        found, answers, fusion if teaching else None, able, list(scorers), teachers,
        kind=normalize, weights=weights, min_gain=min_gain,
    )  # fmt: skip
    used = [name for name, weight in chosen.weights.items() if weight > 0]
    if mode == "sequential":
        used = [name for teacher in teachers for name in able if teaches(name, (teacher,))]
        chosen = in_turn(chosen, used)
    asking = [name for name in used if name in scorers]

    queries = [*train, *dev]
    lists = candidates.lists(queries, find, ids, equal, n_ways)
    first = [
        candidates.best_places(one, ids, equal, reranker_ways, ids.row[query.doc_id])
        for query, one in zip(queries, lists, strict=True)
    ]
    rated = ratings.rate(lists, asking, first)
    names = [*members, *asking]
    to_scale = scale(normalize, rated, names)
    in_train = {query.query_id for query in train}
    turns: list[Turn] = []
    near = empty = 0
    for teacher, shares in (
        [(name, {name: 1.0}) for name in used] if mode == "sequential" else [("teacher", chosen.weights)]
    ):
        sides: dict[bool, list[NWay]] = {True: [], False: []}
        # Where no retriever teaches, nothing is said of the others.
        is_rated_only = all(name in asking for name, weight in shares.items() if weight)
        for query, whole, places in zip(queries, rated, first, strict=True):
            one = whole.select(places) if is_rated_only else whole
            rated_one = _rated(query, one, shares, to_scale, normalize, ids)
            example, others = _without_false_negatives(rated_one, false_negatives, false_negative_share)
            near += others
            is_nothing = others == len(one.rows) - 1 or rated_one.scores[0] == 0
            if false_negatives != "keep" and others and is_nothing:
                empty += 1
            else:
                sides[query.query_id in in_train].append(example)
        turns.append(Turn(teacher, sides[True], sides[False]))
    dropped = {"nothing but false negatives": empty} if false_negatives != "keep" else {}
    entropies = [_entropy(example.scores) for turn in turns for example in turn.train]
    return Labelled(
        turns,
        chosen.weights,
        chosen.rows,
        round(float(np.mean(entropies)), 4) if entropies else 0.0,
        dropped,
        (_row(query, one, names, to_scale, ids) for query, one in zip(queries, rated, strict=True)),
        {"normalize": normalize, **({"bounds": bounds(rated, names)} if normalize == "percentile" else {})},
        {name: _ties([one.scores[name] for one in rated]) for name in names},
        near,
    )


def _rated(
    query: SyntheticQuery, one: Candidates, weights: Mapping[str, float], to_scale: Scale, kind: str, ids: Ids
) -> NWay:
    """The teacher's score of each candidate, in [0, 1], the source document first, then by score."""
    scores = combine(one, weights, to_scale)
    # A percentile says how good a list is, too; the other scales say nothing of that, and fill [0, 1].
    scores = scores.clip(0, 1) if kind == "percentile" else min_max(scores)
    source = ids.row[query.doc_id]
    order = sorted(ids.order(scores, one.rows), key=lambda at: one.rows[at] != source)
    return NWay(
        query.query_id,
        tuple(ids.doc_ids[one.rows[at]] for at in order),
        tuple(round(float(scores[at]), 6) for at in order),
    )


def _without_false_negatives(example: NWay, treatment: str, share: float) -> tuple[NWay, int]:
    """The example with its false negatives treated so, and how many there are."""
    own = example.scores[0]
    near = {at for at in range(1, len(example.scores)) if example.scores[at] > share * own}
    if treatment == "keep" or not near:
        return example, len(near)
    if treatment == "positive":
        return example._replace(
            scores=tuple(own if at in near else score for at, score in enumerate(example.scores))
        ), len(near)
    kept = [at for at in range(len(example.scores)) if at not in near]
    return NWay(
        example.query_id, tuple(example.doc_ids[at] for at in kept), tuple(example.scores[at] for at in kept)
    ), len(near)


def _row(query: SyntheticQuery, one: Candidates, names: Sequence[str], to_scale: Scale, ids: Ids) -> dict[str, Any]:
    """What every teacher said of every candidate, as numbers that are float32 again when they are read."""
    return {
        "query_id": query.query_id,
        "doc_ids": [ids.doc_ids[row] for row in one.rows],
        "raw": {name: _plain(one.scores[name]) for name in names},
        "normalized": {name: _plain(to_scale(name, one.scores[name])) for name in names},
    }


def _plain(scores: NDArray[np.float32]) -> list[float | None]:
    """None for what was not asked for."""
    return [None if np.isnan(score) else float(str(score)) for score in scores.astype(np.float32)]


def _ties(lists: Sequence[NDArray[np.float32]]) -> dict[str, int]:
    """How many lists there are, how many whose best score is that of several documents, how many of one score alone."""
    longer = [scores[~np.isnan(scores)] for scores in lists if len(scores) > 1]
    return {
        "lists": len(longer),
        "at_the_top": sum(int((scores == scores.max()).sum() > 1) for scores in longer),
        "flat": sum(int(scores.max() == scores.min()) for scores in longer),
    }


def _entropy(scores: Sequence[float], temperature: float = 0.1) -> float:
    """1 when the softmax of the scores is uniform, 0 when it is one document."""
    if len(scores) < 2:
        return 0.0
    shares = np.exp((np.array(scores) - max(scores)) / temperature)
    shares = shares / shares.sum()
    return float(-(shares * np.log(np.maximum(shares, 1e-12))).sum() / math.log(len(scores)))
