"""Measure forgetting: how adapting changed search on a labelled collection outside the run.

The collection is indexed as the run's own was; each adapted retriever, and their fusion with the run's weights, is
compared with its unadapted counterpart. Rerankers are not measured. Temporary files are removed, except for the index
of the base.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError, SettingError
from acclimate.base.files import read_json, write_json
from acclimate.base.progress import Progress
from acclimate.base.words import normalized_key
from acclimate.corpus import collections
from acclimate.corpus.judged_queries import with_self_matches
from acclimate.measure.compare import compare, verdict
from acclimate.measure.measures import MAIN
from acclimate.records import Doc
from acclimate.run.output import Account, StageOutput
from acclimate.run.run import Run
from acclimate.run.workspace import Workspace
from acclimate.search import measuring
from acclimate.search.names import SystemName
from acclimate.search.systems import HYBRID, of_documents, system_of
from acclimate.stages import index
from acclimate.stages.chain import Outputs

FOLDER, MEASURED = "forgetting", "measured"


class Forgetting(StageOutput):
    """What each adapted retriever lost or gained on another collection."""

    stage = MEASURED

    @cached_property
    def measured(self) -> dict[str, Any]:
        """The content of `measured.json`; see docs/files.md."""
        return read_json(self.folder / "measured.json")


def make(run: Run, outputs: Outputs, collection: str) -> Forgetting:
    """Index a labelled collection, and compare each adapted retriever with its origin on it.

    Raises SettingError for a run without an adapted retriever and for the run's own documents, DataError for a
    collection without judged queries.
    """
    distilled = outputs.get("distill")
    if distilled is None:
        raise SettingError("this run trained no retriever (distill.student), so there is nothing to measure")
    collections.check_name(collection)
    outside = Run(_workspace(run, collection), run.settings, run.seed, collection)
    labels = outside.input.labels.measuring
    if not any(qrel.relevance > 0 for qrel in labels.qrels):
        raise DataError(f"{collection} has no judged queries; expected a labelled collection, as a BEIR folder is")
    if outside.input.documents.fingerprint == run.input.documents.fingerprint:
        raise SettingError(f"{collection} has the same documents as the run; expected another collection")
    indexed = index.make(outside)

    def work(folder: Path, progress: Progress) -> Account:
        students = replace(distilled.students(outside), index_folder=folder / "students")
        students.index()
        members = outside.base.members | students.members()
        queries = measuring.draw_queries(labels.queries, run.settings["evaluate"]["max_queries"], run.seed)
        judged = with_self_matches(labels, outside.input.documents).restricted_to(queries)
        weights = {str(name): {str(name): 1.0} for kind in distilled.notes for name in _adapted_and_origin(kind)}
        chosen = outputs["evaluate"].chosen.weights
        weights |= {name: chosen[name] for name in (HYBRID.adapted(), HYBRID.adapted().origin) if name in chosen}
        values: dict[str, dict[str, float]] = {}
        for name, of in weights.items():
            retriever = of_documents(system_of(outside.base.ids, members, of), outside.base.ids)
            values[name] = measuring.ndcg(retriever, judged)
            progress(len(values) * len(queries), len(weights) * len(queries))
        systems = [name for name in map(SystemName, weights) if name.is_adapted and name.origin in weights]
        measured = {
            "collection": outside.input.collection.name,
            "documents": len(outside.input.documents),
            "shared": _n_shared(outside.input.documents, run.input.documents),
            "queries": len(queries),
            "systems": [_row(name, values, run.seed, judged.sources) for name in systems],
        }
        write_json(folder / "measured.json", measured)
        shutil.rmtree(folder / "students", ignore_errors=True)
        return Account(len(labels.queries), len(queries))

    inputs = {
        "index": indexed.fingerprint,
        "distill": distilled.fingerprint,
        "evaluate": _weights_of(outputs),
        "labels": labels.fingerprint,
        "max_queries": str(run.settings["evaluate"]["max_queries"]),
    }
    output = outside.workspace.make(MEASURED, work, settings={}, inputs=inputs, seed=run.seed, unit="searches")
    return Forgetting(output.folder, output.manifest, output.resumed)


def measurements(run: Run, outputs: Outputs) -> list[dict[str, Any]]:
    """The measurements on other collections that belong to the current students and weights, sorted by folder."""
    distilled = outputs.get("distill")
    made_of = {"distill": distilled.fingerprint, "evaluate": _weights_of(outputs)} if distilled else {}
    measured: list[dict[str, Any]] = []
    for folder in sorted((run.workspace.folder / FOLDER).glob(f"*/{MEASURED}")):
        manifest = Workspace(folder.parent).usable_manifest(MEASURED)
        if made_of and manifest and made_of.items() <= manifest["inputs"].items():
            measured.append(Forgetting(folder, manifest, resumed=True).measured)
    return measured


def _weights_of(outputs: Outputs) -> str:
    """Fingerprint of the run's weights, which its fusions have on other collections, too."""
    return fingerprint(outputs["evaluate"].chosen.weights)


def _n_shared(documents: Mapping[str, Doc], known: Mapping[str, Doc]) -> int:
    """How many of the documents have a text that is also that of a known one."""
    theirs, ours = (
        np.array([normalized_key(doc.default_text()) for doc in docs.values()], np.void(16).dtype)
        for docs in (documents, known)
    )
    return int(np.isin(theirs, ours).sum())


def _workspace(run: Run, collection: str) -> Workspace:
    """The folder for this collection, within the run's."""
    name = re.sub(r"[^\w.-]", "-", Path(collection).name, flags=re.ASCII)[-40:]
    return Workspace(run.workspace.folder / FOLDER / f"{name}-{fingerprint(collections.located(collection))[:8]}")


def _adapted_and_origin(kind: str) -> tuple[SystemName, SystemName]:
    """The adapted and the unadapted name of a kind of student."""
    name = SystemName(kind).adapted()
    return name, name.origin


def _row(
    name: SystemName, values: Mapping[str, Mapping[str, float]], seed: int, sources: Mapping[str, str]
) -> dict[str, Any]:
    ours, theirs = values[name], values[name.origin]
    row = compare(ours, theirs, system=name, baseline=name.origin, measure=MAIN, seed=seed, sources=sources)
    reached = {key: round(measuring.mean(values[of]), 5) for key, of in ((MAIN, name), ("before", name.origin))}
    return {**row.for_report(), **reached, "verdict": verdict(row)}
