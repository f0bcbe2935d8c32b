"""Choose the teacher and score lists with it: the steps of `stages.label`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acclimate.base.errors import SettingError
from acclimate.base.spilled import collect
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.learn.teachers.lists import CandidateFinder, lists_of
from acclimate.learn.teachers.rated_lists import Labels
from acclimate.learn.teachers.rating import Ratings
from acclimate.learn.teachers.selection import (
    SEQUENTIAL,
    TEACHER,
    Teachers,
    check_teaching,
    choose_teachers,
    fuse_retrievers,
    sequential,
    teaches,
)
from acclimate.learn.teachers.turns import Rules, ScoredLists, turns_of
from acclimate.records import Query, Scorer, SyntheticQuery
from acclimate.search.candidates import best, best_places
from acclimate.search.scales import MIN_MAX, NONE, scale
from acclimate.search.weights import relevance_of


def label_lists(
    train: Sequence[SyntheticQuery],
    dev: Sequence[SyntheticQuery],
    held_out: JudgedQueries,
    finder: CandidateFinder,
    scorers: Mapping[str, Scorer],
    log: Sequence[Query],
    scratch: Path | None,
    *,
    settings: Mapping[str, Any],
    progress: Callable[[int, int], None],
) -> Labels:
    """Choose the teacher, and let it score; `settings` are those of `stages.label`.

    scratch: a folder to hold lists until they are read again; None: memory.
    """
    check_teaching(**settings)
    ids, order, normalize = finder.ids, finder.order, settings["normalize"]
    ratings = Ratings(scorers, ids, progress)
    chosen = _choose(held_out, finder, ratings, settings)
    asking = [name for name in chosen.used if name in scorers]
    lists, sources = lists_of([*train, *dev], log[: settings["log_queries"]], finder, settings["n_ways"], scratch)
    places = [
        best_places(of_query, ids, order, _n_rated(settings), source)
        for of_query, source in zip(lists, sources, strict=True)
    ]
    rated = collect(ratings.rate(lists, asking, places), scratch) if asking else lists
    names = [*finder.members, *asking]
    scored = ScoredLists(rated, sources, ids, scale(normalize, rated, names), order, places, asking)
    in_turn = [(TEACHER, chosen.weights)]
    if settings["mode"] == SEQUENTIAL:
        in_turn = [(name, {name: 1.0}) for name in chosen.used]
    in_dev, rules = {query.query_id for query in dev}, Rules(**{name: settings[name] for name in Rules._fields})
    turns = turns_of(in_turn, scored, in_dev, rules, scratch)
    return Labels.of(turns, scored, names, chosen, normalize=normalize)


def _choose(
    held_out: JudgedQueries, finder: CandidateFinder, ratings: Ratings, settings: Mapping[str, Any]
) -> Teachers:
    """The teacher, chosen on held-out queries; what it consists of is in turn if it teaches in turn."""
    ids, members, scorers = finder.ids, finder.members, list(ratings.scorers)
    teachers, normalize, n_ways = settings["teachers"], settings["normalize"], settings["n_ways"]
    able = [*members, *scorers]
    teaching = [name for name in members if teaches(name, teachers)]
    if not any(teaches(name, teachers) for name in able):
        raise SettingError(f"label.teachers is {','.join(teachers)}; there are {', '.join(able)}")
    shown = [best(of_query, ids, finder.order, n_ways) for of_query in finder.find(held_out.queries, ())]
    answers = relevance_of(held_out, ids)
    # Raw scores of several retrievers cannot be added, so they cannot select what rerankers score.
    fusion = fuse_retrievers(shown, answers, teaching or members, MIN_MAX if normalize == NONE else normalize)
    places = [best_places(of_query, ids, finder.weights or fusion.weights, _n_rated(settings)) for of_query in shown]
    shown = [*ratings.rate(shown, scorers, places)]
    chosen = choose_teachers(
        shown, answers, fusion if teaching else None, able, scorers, teachers,
        kind=normalize, weights=settings["weights"], min_gain=settings["min_gain"],
    )  # fmt: skip
    if settings["mode"] == SEQUENTIAL:
        return sequential(chosen, [name for teacher in teachers for name in sorted(able) if teaches(name, (teacher,))])
    return chosen


def _n_rated(settings: Mapping[str, Any]) -> int:
    """How many candidates of a list rerankers rate."""
    return settings["n_ways"] if settings["windows"] else settings["reranker_ways"]
