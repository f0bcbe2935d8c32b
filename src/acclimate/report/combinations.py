"""Combinations of old and new retriever with old and new reranker, to find adaptations that harm each other.

A reranker orders what a retriever finds; with another retriever's documents it may do worse than before.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from acclimate.measure.compare import ALPHA
from acclimate.measure.measures import MAIN
from acclimate.report.formatting import score
from acclimate.search.names import RERANKER, SystemName

_RERANKED = ("old_reranked", "new_reranked")
PLACES = ("old", "new", *_RERANKED)  # cells of a row


def combinations(systems: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each adapted and reranked retriever: nDCG@10 of the four combinations, None for unmeasured ones.

    systems: as in a report.
    """
    ndcg = {SystemName(system["name"]): system["measures"][MAIN] for system in systems}
    rerankers = dict.fromkeys(name.partition("+")[2] for name in ndcg if name.is_reranked)
    rows: list[dict[str, Any]] = []
    retrievers = [name for name in ndcg if name.first == name and not name.has_feedback]
    for new in (name for name in retrievers if name.is_adapted):
        for reranker in rerankers:
            old = _before(new, reranker, ndcg)
            before, after = (SystemName(f"{name}+{reranker}") for name in (old, new))
            if before in ndcg or after in ndcg:
                names = {"old": old, "new": new, "old_reranked": before, "new_reranked": after}
                rows.append(
                    {"retriever": str(new.retriever), "reranker": reranker}
                    | {place: {"system": str(name), MAIN: ndcg.get(name)} for place, name in names.items()}
                )
    return rows


def _before(new: SystemName, reranker: str, names: Container[str]) -> SystemName:
    """What an adapted retriever is compared with: its latest ancestor that is also reranked."""
    origin = new.origin
    while origin.origin != origin and f"{origin}+{reranker}" not in names:
        origin = origin.origin
    return origin if f"{origin}+{reranker}" in names else new.origin


def harms(report: Mapping[str, Any], min_difference: float = 0.0) -> Iterator[str]:
    """Adapted retrievers that make their reranked system worse, and adapted fusions worse than their origin.

    Decided by paired tests, for differences of at least `min_difference`.
    """
    ndcg = {system["name"]: system["measures"][MAIN] for system in report["systems"]}
    worse = {
        (row["system"], row["baseline"])
        for row in report["comparisons"]
        if row["measure"] == MAIN and row["p"] < ALPHA and row["delta"] < 0 and -row["delta"] >= min_difference
    }
    for name in map(SystemName, ndcg):
        origin = name.origin
        if name.is_reranked and name.first.is_adapted:
            reranker = name.partition("+")[2]
            before = SystemName(f"{_before(name.first, reranker, ndcg)}+{reranker}")
            if (name, before) in worse:
                yield (
                    f"Adapting the retriever harms reranking: {name} ({score(ndcg[name])}) ranks worse than "
                    f"{before} ({score(ndcg[before])}); without the reranker, {name.first} has "
                    f"{score(ndcg.get(name.first))} and {before.first} {score(ndcg.get(before.first))}."
                )
        if (name, origin) in worse:
            yield (
                f"{name} ({score(ndcg[name])}) ranks worse than {origin} ({score(ndcg[origin])}), which it was made "
                "from."
            )


def unmeasured(report: Mapping[str, Any]) -> str:
    """Which of the four combinations are missing, and the setting that measures them; empty if none."""
    cells = [row[place] for row in report["combinations"] for place in _RERANKED if row["reranker"] == RERANKER]
    missing = [cell["system"] for cell in cells if cell[MAIN] is None]
    if not missing:
        return ""
    measured = [SystemName(system["name"]) for system in report["systems"]]
    retrievers = [name.first for name in measured if name == name.first.reranked()]
    retrievers += [SystemName(name).first for name in missing]
    setting = f"evaluate.rerank={','.join(dict.fromkeys(retrievers))}"
    return f"Not measured: {', '.join(missing)}. To measure it: --set {setting}"


def table(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The rows as text, with a header."""
    head = ["retriever", "original", "adapted", "original, reranked", "adapted, reranked", "reranker"]
    return [
        head,
        *([row["new"]["system"], *(score(row[place][MAIN]) for place in PLACES), row["reranker"]] for row in rows),
    ]
