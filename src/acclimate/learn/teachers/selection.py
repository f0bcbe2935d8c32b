"""Who teaches, and how much each counts: chosen on held-out queries, equal, or as the user says.

The retrievers among the teachers are fused first. Scorers, which cost far more, are then added one by one, whichever
helps most, as long as one adds enough to what is reached without it: a scorer that does not help gets no weight,
teaches nothing, and is not asked to rate anything more. Several rerankers count as one, their mean: UDAPDR's gain needs
all of them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from acclimate.base.errors import DataError, SettingError
from acclimate.base.text import quoted
from acclimate.search.scales import Scale, combine, scale
from acclimate.search.system import Candidates
from acclimate.search.weights import Answers, Weighed, choose_weights, mean_ndcg

RERANKER = "reranker"
CHOSEN, EQUAL = "chosen", "equal"
MODES = ("mean", "sequential")
FALSE_NEGATIVES = ("keep", "drop", "positive")
_UNIFORM = 0.95  # entropy of the target, as a share of the uniform one's, from which it says next to nothing


class Teachers(NamedTuple):
    """Weights that add to 1, what they reach on the held-out queries, and the table of who can do what."""

    weights: dict[str, float]
    rows: list[dict[str, Any]]  # name, its nDCG@10 alone on held-out queries, weight, whether used, why


def is_reranker(name: str) -> bool:
    """True for what `train` made: `reranker`, or one of several, `reranker-NAME`."""
    return name.split("-")[0] == RERANKER


def teaches(name: str, teachers: Sequence[str]) -> bool:
    """True for who is named, and for every reranker where `reranker` is."""
    return name in teachers or (RERANKER in teachers and is_reranker(name))


def check_teaching(*, teachers: Sequence[str], weights: str, **_: Any) -> None:
    """Raises SettingError for teachers that are none or named twice, and for weights of others."""
    if not teachers or len(set(teachers)) < len(teachers):
        raise SettingError(f"label.teachers is {quoted(','.join(teachers))}; expected one name or more, each once")
    if weights not in (CHOSEN, EQUAL):
        given_weights(weights, teachers)


def given_weights(weights: str, teachers: Sequence[str]) -> dict[str, float]:
    """`bm25=.3,dense=.7` as weights that add to 1. Raises SettingError for other names or no such numbers."""
    found: dict[str, float] = {}
    for part in weights.split(","):
        name, _, number = (piece.strip() for piece in part.rpartition("="))
        if not any(teaches(teacher, (name,)) for teacher in teachers):
            raise SettingError(
                f"label.weights is {quoted(weights)}; expected {CHOSEN}, {EQUAL}, or NAME=NUMBER,... with names of "
                f"label.teachers: {', '.join(teachers)}"
            )
        try:
            own = [teacher for teacher in teachers if teaches(teacher, (name,))]  # several, where these are rerankers
            found |= {teacher: float(number) / len(own) for teacher in own}
        except ValueError:
            raise SettingError(f"label.weights: {quoted(number)} of {name} is no number") from None
    total = sum(found.values())
    if not 0 < total < float("inf") or min(found.values()) < 0:
        raise SettingError(f"label.weights is {quoted(weights)}; expected numbers of at least 0, one of them above it")
    return {name: round(number / total, 4) for name, number in found.items()}


def fuse_retrievers(
    found: Sequence[Candidates], answers: Answers, members: Sequence[str], kind: str, trust: float
) -> Weighed:
    """The members' weights among themselves; `trust` as in `choose_weights`."""
    if not found:
        raise DataError("no held-out queries to choose weights on; draw more documents (sample.n_docs)")
    to_scale = scale(kind, found, members)
    return choose_weights(found, answers, members, trust=trust, scale=to_scale)


def choose_teachers(
    found: Sequence[Candidates],
    answers: Answers,
    fusion: Weighed | None,
    names: Sequence[str],
    scorers: Sequence[str],
    teachers: Sequence[str],
    *,
    kind: str,
    weights: str,
    min_gain: float,
) -> Teachers:
    """Weights for the teachers among `names`, retrievers and `scorers`, that scored `found`.

    fusion: of the retrievers that teach; None where none does.
    """
    to_scale = scale(kind, found, names)
    together = [name for name in scorers if is_reranker(name)]
    groups = {name: [name] for name in scorers if name not in together} | ({RERANKER: together} if together else {})
    rows = [_with_groups(one, fusion, groups, to_scale) for one in found]
    base = [] if fusion is None else ["fusion"]
    reasons: dict[str, str] = {}

    def weighed(chosen: Sequence[str]) -> Weighed:
        return choose_weights(rows, answers, chosen, trust=1.0, scale=to_scale)

    if weights == CHOSEN:
        used, best, left = list(base), fusion, [name for name in groups if teaches(name, teachers)]
        while left:
            tried = {name: weighed([*used, name]) for name in left}
            name = max(tried, key=lambda name: tried[name].ndcg)
            if best is not None and tried[name].ndcg < best.ndcg + min_gain:
                reasons = {
                    name: f"with it {one.ndcg:.3f}, without it {best.ndcg:.3f}: it does not help to rank"
                    for group, one in tried.items()
                    for name in groups[group]
                }
                break
            used, best = [*used, name], tried[name]
            left.remove(name)
        assert best is not None
        shares = best.weights if used != base else {"fusion": 1.0}
        chosen = {} if fusion is None else {n: round(w * shares["fusion"], 4) for n, w in fusion.weights.items()}
        for group, weight in shares.items():
            chosen |= {name: round(weight / len(groups[group]), 4) for name in groups.get(group, ())}
        reached = best.ndcg
    else:
        able = [name for name in names if teaches(name, teachers)]
        chosen = given_weights(weights, able) if weights != EQUAL else {name: round(1 / len(able), 4) for name in able}
        both = [one._replace(scores={"teacher": combine(one, chosen, to_scale)}) for one in found]
        reached = mean_ndcg(both, answers, "teacher")

    table: list[dict[str, Any]] = [
        {
            "name": name,
            "nDCG@10": round(mean_ndcg(found, answers, name), 4),
            "weight": chosen.get(name, 0.0),
            "used": chosen.get(name, 0.0) > 0,
            "reason": reasons.get(name, "") if teaches(name, teachers) else "not among label.teachers",
        }
        for name in names
    ]
    table.append({"name": "teacher", "nDCG@10": round(reached, 4), "weight": 1.0, "used": True, "reason": ""})
    return Teachers(chosen, table)


def in_turn(chosen: Teachers, names: Sequence[str]) -> Teachers:
    """Each of `names` as a teacher of its own; the last one has the last word, and the row of the teacher."""
    reached = {row["name"]: row["nDCG@10"] for row in chosen.rows}
    rows = [
        {**row, "nDCG@10": reached[names[-1]]}
        if row["name"] == "teacher"
        else {**row, "weight": float(row["name"] in names), "used": row["name"] in names}
        for row in chosen.rows
    ]
    return Teachers(
        dict.fromkeys(names, 1.0), [{**row, "reason": "" if row["used"] else row["reason"]} for row in rows]
    )


def _with_groups(
    one: Candidates, fusion: Weighed | None, groups: Mapping[str, Sequence[str]], to_scale: Scale
) -> Candidates:
    """With groups' means, and the retrievers' fusion: weighing it against a scorer takes two weights, not four."""
    fused = {} if fusion is None else {"fusion": combine(one, fusion.weights, to_scale)}
    means = {
        group: combine(one, dict.fromkeys(names, 1 / len(names)), to_scale)
        for group, names in groups.items()
        if names != [group]
    }
    return one._replace(scores={**one.scores, **fused, **means})


def teacher_warnings(notes: Mapping[str, Any], starts: Sequence[str]) -> list[str]:
    """What to know before students learn from this teacher.

    notes: of `label`'s manifest. starts: retrievers, of those that were measured, that students begin as.
    """
    found: list[str] = []
    reached = {row["name"]: row["nDCG@10"] for row in notes["teachers"]}
    teacher = reached.pop("teacher")
    for name in starts:
        if name in reached and teacher <= reached[name]:
            found.append(
                f"On the held-out queries the teacher ({teacher:.3f}) ranks no better than the untouched {name} "
                f"({reached[name]:.3f}), which is to learn from it."
            )
    if notes["target_entropy"] > _UNIFORM:
        found.append(
            f"The teacher's scores hardly differ within a list: as a target, {notes['target_entropy']:.0%} of the "
            "entropy of a uniform one."
        )
    for name, ties in notes.get("ties", {}).items():
        if ties["flat"] > 0.5 * ties["lists"]:
            found.append(f"{name} gave all documents the same score in {ties['flat']:,} of {ties['lists']:,} lists.")
    return found
