"""Retriever and reranker, old and new: whether what was adapted still goes together, or one harms the other.

A reranker orders what a retriever finds; when another retriever finds other documents, it may do worse than before.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from acclimate.measure.compare import ALPHA
from acclimate.measure.measures import MAIN
from acclimate.report.formatting import score
from acclimate.search.names import RERANKER, SystemName

_RERANKED = ("old_reranked", "new_reranked")
PLACES = ("old", "new", *_RERANKED)  # of a row's cells


def combinations(systems: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each retriever that was adapted and that something reranks, old or new: nDCG@10 of all four, None where
    one was not measured. systems: as in a report."""
    ndcg = {SystemName(system["name"]): system["measures"][MAIN] for system in systems}
    rerankers = dict.fromkeys(name.partition("+")[2] for name in ndcg if name.is_reranked)
    rows: list[dict[str, Any]] = []
    for new in (name for name in ndcg if name.first == name and name.is_adapted):
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
    """What an adapted retriever is held against: the last of those that it was made from that is reranked, too."""
    origin = new.origin
    while origin.origin != origin and f"{origin}+{reranker}" not in names:
        origin = origin.origin
    return origin if f"{origin}+{reranker}" in names else new.origin


def harms(report: Mapping[str, Any], least: float = 0.0) -> list[str]:
    """Where adapting a retriever makes what reranks it worse, or an adapted fusion is below the one it was made from;
    by paired tests, differences of `least` and more."""
    return list(_harms(report, least))


def _harms(report: Mapping[str, Any], least: float) -> Iterator[str]:
    ndcg = {system["name"]: system["measures"][MAIN] for system in report["systems"]}
    worse = {
        (row["system"], row["baseline"])
        for row in report["comparisons"]
        if row["measure"] == MAIN and row["p"] < ALPHA and row["delta"] < 0 and -row["delta"] >= least
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
    """Which of the four are missing, and the setting that measures them; nothing where none is."""
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
    """The rows as text, with a head."""
    head = ["retriever", "original", "adapted", "original, reranked", "adapted, reranked", "reranker"]
    return [
        head,
        *([row["new"]["system"], *(score(row[place][MAIN]) for place in PLACES), row["reranker"]] for row in rows),
    ]
