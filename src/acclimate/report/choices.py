"""What was tried and chosen on held-out queries: the teacher, fusion weights, the candidate, and students' settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from acclimate.learn.teachers.selection import TEACHER
from acclimate.measure.measures import MAIN
from acclimate.search.names import SystemName
from acclimate.search.systems import EQUAL


def choices(
    label: Mapping[str, Any] | None, chosen: Mapping[str, Any], distill: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Rows of what, value, nDCG@10 (None if not measured) and whether chosen.

    label, distill: notes of these stages' manifests; None, or empty, if the run skips them. chosen: evaluate's
    `chosen.json`.
    """
    return [
        {"what": what, "value": value, MAIN: None if ndcg is None else round(ndcg, 5), "chosen": is_chosen}
        for rows in (_teachers(label) if label else (), _students(distill), _weights(chosen), _candidates(chosen))
        for what, value, ndcg, is_chosen in rows
    ]


def _teachers(notes: Mapping[str, Any]) -> Iterator[tuple[str, str, float | None, bool]]:
    weights = {name: weight for name, weight in notes["weights"].items() if weight}
    ndcg_of = {row["name"]: row[MAIN] for row in notes["teachers"]}
    for name, ndcg in ndcg_of.items():
        if name != TEACHER:
            yield "teacher", f"{name} alone", ndcg, list(weights) == [name]
    if len(weights) > 1:
        yield "teacher", weighted_sum(weights), ndcg_of.get(TEACHER), True


def _students(notes: Mapping[str, Any]) -> Iterator[tuple[str, str, float | None, bool]]:
    for kind, note in notes.items():
        for row in note.get("tried", ()):
            yield f"settings of {SystemName(kind).adapted()}", row["value"], row[MAIN], row["chosen"]


def _weights(chosen: Mapping[str, Any]) -> Iterator[tuple[str, str, float | None, bool]]:
    for system, weights in chosen["weights"].items():
        used = {name: weight for name, weight in weights.items() if weight}
        if used and system not in (*used, EQUAL):
            yield f"weights of {system}", weighted_sum(used), chosen["ndcg"].get(system), True
    for system, share in chosen["reranker_weights"].items():
        shares = weighted_sum({"reranker": share, "first stage": round(1 - share, 4)})
        reranked = SystemName(system).reranked()
        if reranked.weight is not None:  # a fixed weight was not chosen
            continue
        yield f"weights of {reranked}", shares, chosen["ndcg"].get(reranked), True


def _candidates(chosen: Mapping[str, Any]) -> Iterator[tuple[str, str, float | None, bool]]:
    contending = [name for name in map(SystemName, chosen["ndcg"]) if name.steps]
    if SystemName(chosen["candidate"]).is_reranked and not any(name.first.is_adapted for name in contending):
        contending = [name for name in contending if name.is_reranked]  # no student was trained: see `choice.choose`
    for system in contending:
        yield "candidate", system, chosen["ndcg"][system], system == chosen["candidate"]


def weighted_sum(weights: Mapping[str, float]) -> str:
    """`bm25 0.25 + dense 0.75`"""
    return " + ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
