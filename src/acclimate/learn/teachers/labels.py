"""Choose the teacher and score lists with it: the steps of `stages.label`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acclimate.base.errors import SettingError
from acclimate.base.spilled import collect
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.learn.teachers.lists import lists_of
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
from acclimate.search.candidates import Find, best, best_places
from acclimate.search.members import Ids
from acclimate.search.scales import MIN_MAX, NONE, scale
from acclimate.search.weights import relevance_of


def label_lists(
    train: Sequence[SyntheticQuery],
    dev: Sequence[SyntheticQuery],
    held_out: JudgedQueries,
    find: Find,
    ids: Ids,
    members: Sequence[str],
    scorers: Mapping[str, Scorer],
    log: Sequence[Query],
    order: Mapping[str, float],
    scratch: Path | None,
    *,
    settings: Mapping[str, Any],
    progress: Callable[[int, int], None],
) -> Labels:
    """Choose the teacher, and let it score; `settings` are those of `stages.label`.

    order: members' weights that decide which candidates are the best; empty: all equal. scratch: a folder to hold lists
    until they are read again; None: memory.
    """
    check_teaching(**settings)
    ratings = Ratings(scorers, ids, progress)
    chosen, used = _choose(held_out, find, members, order, ratings, settings)
    order, n_ways, normalize = order or _equal(members), settings["n_ways"], settings["normalize"]
    asking = [name for name in used if name in scorers]
    lists, sources = lists_of([*train, *dev], log[: settings["log_queries"]], find, ids, order, n_ways, scratch)
    places = [
        best_places(of_query, ids, order, _n_rated(settings), source)
        for of_query, source in zip(lists, sources, strict=True)
    ]
    rated = collect(ratings.rate(lists, asking, places), scratch) if asking else lists
    names = [*members, *asking]
    scored = ScoredLists(rated, sources, ids, scale(normalize, rated, names), order, places, asking)
    in_turn = [(name, {name: 1.0}) for name in used] if settings["mode"] == SEQUENTIAL else [(TEACHER, chosen.weights)]
    in_dev, rules = {query.query_id for query in dev}, Rules(**{name: settings[name] for name in Rules._fields})
    turns = turns_of(in_turn, scored, in_dev, rules, scratch)
    return Labels.of(turns, scored, names, chosen, normalize=normalize)


def _choose(
    held_out: JudgedQueries,
    find: Find,
    members: Sequence[str],
    order: Mapping[str, float],
    ratings: Ratings,
    settings: Mapping[str, Any],
) -> tuple[Teachers, list[str]]:
    """The teacher, chosen on held-out queries, and the names of what it consists of, in turn if they teach in turn."""
    ids, scorers = ratings.ids, list(ratings.scorers)
    teachers, normalize, n_ways = settings["teachers"], settings["normalize"], settings["n_ways"]
    able = [*members, *scorers]
    teaching = [name for name in members if teaches(name, teachers)]
    if not any(teaches(name, teachers) for name in able):
        raise SettingError(f"label.teachers is {','.join(teachers)}; there are {', '.join(able)}")
    shown = [best(of_query, ids, order or _equal(members), n_ways) for of_query in find(held_out.queries, ())]
    answers = relevance_of(held_out, ids)
    # Raw scores of several retrievers cannot be added, so they cannot select what rerankers score.
    fusion = fuse_retrievers(shown, answers, teaching or members, MIN_MAX if normalize == NONE else normalize)
    places = [best_places(of_query, ids, order or fusion.weights, _n_rated(settings)) for of_query in shown]
    shown = [*ratings.rate(shown, scorers, places)]
    chosen = choose_teachers(
        shown, answers, fusion if teaching else None, able, scorers, teachers,
        kind=normalize, weights=settings["weights"], min_gain=settings["min_gain"],
    )  # fmt: skip
    if settings["mode"] == SEQUENTIAL:
        used = [name for teacher in teachers for name in sorted(able) if teaches(name, (teacher,))]
        return sequential(chosen, used), used
    return chosen, [name for name, weight in chosen.weights.items() if weight > 0]


def _equal(members: Sequence[str]) -> dict[str, float]:
    return dict.fromkeys(members, 1 / len(members))


def _n_rated(settings: Mapping[str, Any]) -> int:
    """How many candidates of a list rerankers rate."""
    return settings["n_ways"] if settings["windows"] else settings["reranker_ways"]
