"""Model folders: the encoders of a system, one for queries and one for documents, and its reranker, each with a card.

`MEMBER/query` and `MEMBER/document` are plain folders even where a student was saved as a router with two routes. They
are checked by reading them back with sentence-transformers, dense ones with transformers alone too.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError
from acclimate.base.files import write_text
from acclimate.deploy.exports import model_checks as checks
from acclimate.deploy.exports.formats import Written
from acclimate.deploy.exports.model_card import pooling_in_words, provenance
from acclimate.deploy.exports.model_folders import write_sides, write_with_card
from acclimate.deploy.exports.model_sides import Side, sides_of
from acclimate.deploy.exports.reranker_folder import write_reranker
from acclimate.deploy.exports.source import Source
from acclimate.deploy.exports.sparse_strings import write_documents, write_query_weights
from acclimate.search.encoded import Task
from acclimate.search.members import SparseMember
from acclimate.search.names import RERANKER, SystemName


def write(source: Source, folder: Path) -> Written:
    """Write and check every encoder of the system. Raises DataError where one read back gives other vectors."""
    names = [name for name in source.members if name != "bm25"]
    if not names and not source.name.is_reranked:
        names = [SystemName(system["name"]) for system in source.outputs["evaluate"].measured["systems"]]
        others = ", ".join(sorted(name for name in names if name.is_servable and name != source.name))
        raise DataError(f"{source.name} has no model to export; expected --system with one that has, of {others}")
    counts, lines, notes = {"models": 0}, list[str](), dict[str, Any]()
    encoders: dict[str, checks.Exported] = {}
    for name in names:
        into = folder / SystemName(name).file_name
        sides = sides_of(source.run, source.outputs.get("distill"), name)
        write_sides(sides, into, partial(write_with_card, source, name))
        counts["models"] += len(sides)
        if isinstance(member := source.system.members[name], SparseMember):
            write_query_weights(member, into)
            counts["documents"] = write_documents(source, member, into)
        exported: dict[Task, checks.Exported] = {
            task: checks.Exported(into / task, side.kind, task) for task, side in sides.items()
        }
        notes[name] = _checked(source, name, sides, exported)
        lines.append(f"{name}: " + ", ".join(f"{what} {value:.6f}" for what, value in notes[name].items()))
        encoders[name] = exported["query"]
    if source.name.is_reranked:
        if source.name.reranker == RERANKER:
            count, line = write_reranker(source, folder / RERANKER)
            counts["models"] += count
        else:
            line = f"{source.name.reranker}: not trained by this run; use it under its own name"
        lines.append(line)
    if encoders:
        notes["top ten"] = share = checks.share_of_top(
            source.search(source.queries, checks.TOP), checks.hits_with(source, encoders)
        )
        lines.append(f"top-ten overlap of these encoders with {source.name.first}: {share:.4f}")
    write_text(folder / "README.md", _overview(source, names))
    return Written(counts, notes, lines)


def _checked(
    source: Source, name: str, sides: dict[Task, Side], exported: dict[Task, checks.Exported]
) -> dict[str, float]:
    """The lowest cosine with the run's own vectors, for each side and library that read it."""
    lowest: dict[str, float] = {}
    member = source.system.members[name]
    for task, side in sides.items():
        texts, ours = checks.sample(source, name, task)
        vectors = exported[task].vectors(texts)
        lowest[f"{task} cosine"] = (
            checks.least_cosine_of_documents(member, ours, vectors)
            if task == "document"
            else checks.least_cosine(ours, vectors)
        )
        if side.kind == "dense" and pooling_in_words(side):
            plain = checks.by_transformers(exported[task].folder, side, texts)
            lowest[f"{task} cosine by transformers"] = checks.least_cosine(ours, list(plain))
    checks.refuse_others(name, lowest, exported["query"].folder.parent)
    return lowest


def _overview(source: Source, names: list[str]) -> str:
    """The card of the whole folder: which models there are, and what the system makes of them."""
    first = source.name.first
    weights = source.outputs["evaluate"].chosen.weights[first]
    fused = ", ".join(f"{member} {weight:g}" for member, weight in weights.items() if weight)
    how = (
        f"The members' scores are normalized to [0, 1] over a query's candidates and added with these weights: {fused}."
        if len(weights) > 1
        else "The members' ranks are added as 1 / (60 + rank)."
        if not weights
        else "It is a single retriever."
    )
    folders = [f"- `{SystemName(name).file_name}/query`, `{SystemName(name).file_name}/document`" for name in names]
    folders += [f"- `{RERANKER}`"] if source.name.reranker == RERANKER else []
    return "\n".join([f"# Models of {source.name}", "", how, "", *folders, "", *provenance(source, (source.name,))])
