"""Select teachers and their weights: chosen on held-out queries, equal, or given by the user.

Retrievers are fused first. Scorers, which are far slower, are added greedily as long as one improves the result enough;
a scorer that does not help gets no weight and scores nothing more. Several rerankers count as one, by their mean, since
UDAPDR's gain needs all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from acclimate.base.errors import DataError, SettingError
from acclimate.base.text import counted, quoted
from acclimate.search.candidates import Candidates
from acclimate.search.names import RERANKER
from acclimate.search.scales import NONE, PERCENTILE, Scale, combine, scale
from acclimate.search.weights import ChosenWeights, Relevance, choose_weights, mean_ndcg

TEACHER = "teacher"  # all of them together
_FUSION = "fusion"  # of the retrievers
CHOSEN, EQUAL = "chosen", "equal"
MEAN, SEQUENTIAL = "mean", "sequential"
MODES = (MEAN, SEQUENTIAL)
FALSE_NEGATIVES = ("keep", "drop", "positive")
_UNIFORM = 0.95  # relative entropy of the target above which it says next to nothing


class Teachers(NamedTuple):
    """Weights that sum to 1, their nDCG@10 on held-out queries, and a table of all possible teachers."""

    weights: dict[str, float]
    rows: list[dict[str, Any]]  # name, nDCG@10 alone on held-out queries, weight, whether used, why

    @property
    def used(self) -> list[str]:
        """The teachers with a weight, in the order in which they teach."""
        return [name for name, weight in self.weights.items() if weight > 0]


def is_reranker(name: str) -> bool:
    """True for rerankers of `train`: `reranker`, or one of several, `reranker-NAME`."""
    return name.split("-")[0] == RERANKER


def teaches(name: str, teachers: Sequence[str]) -> bool:
    """True if a scorer is among the teachers; `reranker` stands for every reranker."""
    return name in teachers or (RERANKER in teachers and is_reranker(name))


def check_teaching(
    *, teachers: Sequence[str], weights: str, normalize: str, mode: str, drop_lowest: float, **_: Any
) -> None:
    """Raises SettingError for unknown or duplicate teachers, weights of others, and incompatible scales."""
    if not teachers or len(set(teachers)) < len(teachers):
        raise SettingError(f"label.teachers is {quoted(','.join(teachers))}; expected one name or more, each once")
    if weights not in (CHOSEN, EQUAL):
        parse_weights(weights, teachers)
    retrievers = [name for name in teachers if ":" not in name and not is_reranker(name)]
    if normalize == NONE and mode == MEAN and retrievers and len(teachers) > 1:
        raise SettingError(
            f"label.normalize is none, but {', '.join(teachers)} have different scales; expected one teacher, no "
            "retriever among several, or another scale"
        )
    if drop_lowest and normalize not in (NONE, PERCENTILE):
        raise SettingError(
            f"label.drop_lowest is {drop_lowest:g}, but with label.normalize={normalize} all lists are alike; "
            f"expected label.normalize={PERCENTILE}, or {NONE}"
        )


def parse_weights(weights: str, teachers: Sequence[str]) -> dict[str, float]:
    """Parse `bm25=.3,dense=.7` into weights that sum to 1. Raises SettingError if it cannot be parsed."""
    numbers: dict[str, float] = {}
    for part in weights.split(","):
        name, _, number = (piece.strip() for piece in part.rpartition("="))
        named = [teacher for teacher in teachers if teaches(teacher, (name,))]  # several, for rerankers
        if not named:
            raise SettingError(
                f"label.weights is {quoted(weights)}; expected {CHOSEN}, {EQUAL}, or NAME=NUMBER,... with names of "
                f"label.teachers: {', '.join(teachers)}"
            )
        try:
            numbers |= {teacher: float(number) / len(named) for teacher in named}
        except ValueError:
            raise SettingError(f"label.weights: {quoted(number)} of {name} is not a number") from None
    total = sum(numbers.values())
    if not 0 < total < float("inf") or min(numbers.values()) < 0:
        raise SettingError(f"label.weights is {quoted(weights)}; expected numbers of at least 0, one of them above it")
    return {name: round(number / total, 4) for name, number in numbers.items()}


def fuse_retrievers(
    lists: Sequence[Candidates], answers: Relevance, members: Sequence[str], kind: str
) -> ChosenWeights:
    """Choose the weights of the retrievers among themselves."""
    if not lists:
        raise DataError("no held-out queries to choose weights on; sample more documents (sample.n_docs)")
    return choose_weights(lists, answers, members, scale=scale(kind, lists, members))


def choose_teachers(
    lists: Sequence[Candidates],
    answers: Relevance,
    fusion: ChosenWeights | None,
    names: Sequence[str],
    scorers: Sequence[str],
    teachers: Sequence[str],
    *,
    kind: str,
    weights: str,
    min_gain: float,
) -> Teachers:
    """Choose weights for the teachers among `names` (retrievers and `scorers`) that scored the candidates in `lists`.

    fusion: of the retrievers that teach; None if none does.
    """
    to_scale = scale(kind, lists, names)
    reasons: dict[str, str] = {}
    if weights == CHOSEN:
        teaching = [name for name in scorers if teaches(name, teachers)]
        chosen, reached, reasons = _add_scorers(lists, answers, fusion, teaching, to_scale, min_gain)
    else:
        able = [name for name in names if teaches(name, teachers)]
        chosen = parse_weights(weights, able) if weights != EQUAL else {name: round(1 / len(able), 4) for name in able}
        together = [
            candidates._replace(scores={TEACHER: combine(candidates, chosen, to_scale)}) for candidates in lists
        ]
        reached = mean_ndcg(together, answers, TEACHER)

    table: list[dict[str, Any]] = [
        {
            "name": name,
            "nDCG@10": round(mean_ndcg(lists, answers, name), 4),
            "weight": chosen.get(name, 0.0),
            "used": chosen.get(name, 0.0) > 0,
            "reason": reasons.get(name, "") if teaches(name, teachers) else "not among label.teachers",
        }
        for name in names
    ]
    table.append({"name": TEACHER, "nDCG@10": round(reached, 4), "weight": 1.0, "used": True, "reason": ""})
    return Teachers(chosen, table)


def _add_scorers(
    lists: Sequence[Candidates],
    answers: Relevance,
    fusion: ChosenWeights | None,
    scorers: Sequence[str],
    to_scale: Scale,
    min_gain: float,
) -> tuple[dict[str, float], float, dict[str, str]]:
    """(weights of retrievers and scorers, their nDCG@10, why each other scorer was left out).

    Groups are added greedily to the retrievers' fusion as long as one helps.
    """
    rerankers = [name for name in scorers if is_reranker(name)]
    groups = {name: [name] for name in scorers if name not in rerankers}
    groups |= {RERANKER: rerankers} if rerankers else {}
    grouped = [_with_groups(candidates, fusion, groups, to_scale) for candidates in lists]
    used, best, left = [] if fusion is None else [_FUSION], fusion, list(groups)
    reasons: dict[str, str] = {}
    while left and not reasons:
        trials = {
            group: choose_weights(grouped, answers, [*used, group], votes=False, scale=to_scale) for group in left
        }
        group = max(trials, key=lambda group: trials[group].ndcg)
        if best is not None and trials[group].ndcg < best.ndcg + min_gain:
            reasons = {
                name: f"with it {trial.ndcg:.3f}, without it {best.ndcg:.3f}: it does not improve the ranking"
                for group, trial in trials.items()
                for name in groups[group]
            }
        else:
            used, best = [*used, group], trials[group]
            left.remove(group)
    assert best is not None  # checked by label
    shares = best.weights if best is not fusion else {_FUSION: 1.0}
    weights: dict[str, float] = {}
    if fusion is not None:
        weights = {name: round(weight * shares[_FUSION], 4) for name, weight in fusion.weights.items()}
    for group, share in shares.items():
        weights |= {name: round(share / len(groups[group]), 4) for name in groups.get(group, ())}
    return weights, best.ndcg, reasons


def sequential(chosen: Teachers, names: Sequence[str]) -> Teachers:
    """Each of `names` as a teacher of its own, for sequential teaching; the last one is reported as the teacher."""
    reached = {row["name"]: row["nDCG@10"] for row in chosen.rows}
    rows = [
        {**row, "nDCG@10": reached[names[-1]]}
        if row["name"] == TEACHER
        else {**row, "weight": float(row["name"] in names), "used": row["name"] in names}
        for row in chosen.rows
    ]
    return Teachers(
        dict.fromkeys(names, 1.0), [{**row, "reason": "" if row["used"] else row["reason"]} for row in rows]
    )


def _with_groups(
    candidates: Candidates, fusion: ChosenWeights | None, groups: Mapping[str, Sequence[str]], to_scale: Scale
) -> Candidates:
    """Candidates with the scores of groups (means) and of the retrievers' fusion, weighted as one each."""
    fused = {} if fusion is None else {_FUSION: combine(candidates, fusion.weights, to_scale)}
    means = {
        group: combine(candidates, dict.fromkeys(names, 1 / len(names)), to_scale)
        for group, names in groups.items()
        if names != [group]
    }
    return candidates._replace(scores={**candidates.scores, **fused, **means})


def teacher_warnings(notes: Mapping[str, Any], starts: Sequence[str]) -> list[str]:
    """Warnings before students learn from this teacher.

    notes: of `label`'s manifest. starts: measured retrievers that students start as.
    """
    warnings: list[str] = []
    reached = {row["name"]: row["nDCG@10"] for row in notes["teachers"]}
    teacher = reached.pop(TEACHER)
    for name in starts:
        if name in reached and teacher <= reached[name]:
            warnings.append(
                f"On the held-out queries the teacher ({teacher:.3f}) ranks no better than the untouched {name} "
                f"({reached[name]:.3f}), which would learn from it."
            )
    if notes["target_entropy"] > _UNIFORM:
        warnings.append(
            f"The teacher's scores hardly differ within a list: the target has {notes['target_entropy']:.0%} of the "
            "entropy of a uniform distribution."
        )
    for name, ties in notes.get("ties", {}).items():
        if ties["flat"] > 0.5 * ties["lists"]:
            warnings.append(
                f"{name} gave all documents the same score in {ties['flat']:,} of {counted(ties['lists'], 'list')}."
            )
    return warnings
