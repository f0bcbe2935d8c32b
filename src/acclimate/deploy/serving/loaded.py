"""A finished run loaded for serving: opened, warmed up, and identified by a fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from acclimate.base.digests import fingerprint
from acclimate.corpus.analyzer import Analyzer
from acclimate.corpus.marks import Marker
from acclimate.deploy.filters import Fields
from acclimate.deploy.searchers import Hit, Searchers
from acclimate.records import Query
from acclimate.report import sentences
from acclimate.report.basis import Basis
from acclimate.run.output import StageOutput
from acclimate.search.names import SystemName
from acclimate.stages.runs import open_latest

_WARM_UP = "where to begin"


class LoadedRun:
    """A run that the worker searches; everything but search is thread-safe.

    Raises DataError for a folder without a finished run, and SettingError for an unknown `system`.
    """

    def __init__(self, folder: Path, system: str | None = None) -> None:
        self._run, self._outputs = open_latest(folder)
        self._searchers = Searchers(self._run, self._outputs)
        self.system = self._searchers.checked_name(system)  # the default
        self.names = [name for name in self._outputs["evaluate"].names if name.is_servable]
        stages = {name: output.fingerprint for name, output in cast(dict[str, StageOutput], self._outputs).items()}
        self.fingerprint = fingerprint("served", stages, str(self._run.updated_folder), str(self._run.kept))

    def warm(self) -> None:
        """Answer a query with each likely system, so that the first user need not wait."""
        for name in dict.fromkeys((self.system, *self.sides)):
            self.hits([_WARM_UP], 1, name)
        self.marker.marked(_WARM_UP, _WARM_UP)

    def hits(self, texts: Sequence[str], k: int, system: str, filters: str = "") -> list[list[Hit]]:
        """At most `k` documents for each text. Only the worker may call it."""
        return self._searchers.hits(texts, k, system, filters)

    def named(self, system: str | None) -> SystemName:
        """The checked name of a system; None means the served one. Raises SettingError for an unknown system."""
        return self.system if system is None else self._searchers.checked_name(system)

    @property
    def measured(self) -> dict[str, Any]:
        """The output of `evaluate`."""
        return self._outputs["evaluate"].measured

    @cached_property
    def verdict(self) -> str:
        """The verdict and its basis, in words."""
        basis = Basis.of(self._run, self._outputs)
        return sentences.verdict({"verdict": basis.measured["verdict"], "verdict_basis": basis.name})

    @cached_property
    def sides(self) -> tuple[SystemName, SystemName]:
        """The two systems to compare: the best untouched one, and the served one or another that was adapted."""
        measured = self.measured
        untouched = [measured["baseline"], *(name for name in self.names if name.is_untouched), *self.names]
        before = next(name for name in untouched if name in self.names)
        adapted = [self.system, measured["candidate"], *reversed(self.names)]
        after = next((name for name in adapted if name in self.names and name != before), before)
        return SystemName(before), SystemName(after)

    @cached_property
    def marker(self) -> Marker:
        """Highlights the words of a document that match a query."""
        return Marker(Analyzer(self._run.base.bm25.analyzer.language))  # a separate analyzer: the worker uses the other

    @property
    def n_docs(self) -> int:
        """Number of documents searched."""
        return len(self._run.input.documents)

    @property
    def fields(self) -> Fields:
        """The fields of the documents."""
        return self._searchers.fields

    def has(self, doc_id: str) -> bool:
        """True for a document of the run."""
        return doc_id in self._run.input.documents

    @cached_property
    def queries_to_judge(self) -> list[Query]:
        """Unjudged queries of the log, then those that measured the run, each text once."""
        run, outputs = self._run, self._outputs
        log = [Query(query.query_id, query.text) for query in run.input.unjudged_log.queries]
        is_earlier = "steer" not in outputs  # a stage that earlier versions did not have
        measuring = [] if is_earlier else outputs["steer"].measuring(run, outputs["sample"]).queries
        return list({query.text: query for query in (*log, *measuring)}.values())
