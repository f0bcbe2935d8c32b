"""One run: its settings, folder and seed.

Its parts are `input` (documents, queries, judgments), `base` (unadapted retrievers) and `store` (cached LLM answers and
scores). Outputs are passed from stage to stage, see `stages.chain`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from acclimate.base.errors import SettingError
from acclimate.base.progress import Progress
from acclimate.corpus import collections
from acclimate.llm.prices import Budget
from acclimate.llm.prompts import ADAPTED, plain_names
from acclimate.run.input import CorpusFiles, Input
from acclimate.run.output import Account, Output, StageOutput
from acclimate.run.provided import NOTHING, Provided
from acclimate.run.retrievers import SHARED_DEPTH, BaseRetrievers
from acclimate.run.settings import Settings
from acclimate.run.store import Store
from acclimate.run.workspace import Workspace
from acclimate.search.cached_candidates import CachedCandidates
from acclimate.search.names import STUDENT_KINDS

DOCUMENTS = "documents"  # input name of stages that read the whole corpus


@dataclass
class Run:
    """One workspace and what it is made from."""

    workspace: Workspace
    settings: Settings
    seed: int
    collection_name: str
    provided: Provided = NOTHING
    recipe: str = "quick"
    budget: Budget = field(default_factory=Budget)  # does not affect results
    batch_file: Path | None = None  # collects requests instead of sending them
    corpus_folder: Path | None = None  # folder of stored documents; in the workspace if None
    index_folder: Path | None = None  # folder of the index; in the workspace if None
    source: str | None = None  # the collection's name, with an absolute path
    kept: CorpusFiles | None = None  # read these stored documents instead of the source
    updated_folder: Path | None = None  # indexes of an update; None: those of the stages

    def make(
        self,
        kind: type[Output],
        work: Callable[[Path, Progress], Account],
        *,
        inputs: Mapping[str, str],
        unit: str,
        together: bool = False,
        keeps: bool = False,
        reads: Collection[str] | None = None,
    ) -> Output:
        """Make a stage of this run, or load it if it is up to date; see `Workspace.make`.

        reads: the settings that the stage depends on; None: all of its own.
        """
        settings = self.settings[kind.stage]
        output = self.workspace.make(
            kind.stage,
            work,
            settings={name: settings[name] for name in settings if reads is None or name in reads},
            inputs=inputs,
            seed=self.seed,
            unit=unit,
            together=together,
            keeps=keeps,
        )
        return kind(output.folder, output.manifest, output.resumed)

    def output(self, kind: type[Output]) -> Output | None:
        """The output of a stage as stored; None if it is not finished."""
        manifest = self.workspace.manifest(kind.stage)
        return None if manifest is None else kind(self.folder(kind.stage), manifest, resumed=True)

    def read(self, *names: str) -> dict[str, str]:
        """Settings of other stages, as inputs of a stage that reads them."""
        parts = {name: name.split(".") for name in names}
        return {name: str(self.settings[stage][setting]) for name, (stage, setting) in parts.items()}

    def folder(self, stage: str) -> Path:
        folder = self.updated_folder or self.index_folder
        if stage == "index" and folder is not None:
            return folder
        return self.workspace.folder / stage

    def variant(self, folder: Path, changes: Mapping[str, Mapping[str, Any]], *, seed: int | None = None) -> Run:
        """A copy with other settings (stage -> setting -> value), whose stages are made in another folder.

        Input and index, and what is loaded, are shared, so their settings and the base must not change.
        """
        if "index" in changes or "base" in changes.get("distill", {}):
            raise SettingError("a variant shares the index; expected no change of index settings or of distill.base")
        self.base  # noqa: B018 (made once for both, with the input)
        variant = copy.copy(self)
        variant.workspace = Workspace(folder)
        variant.settings = {stage: {**values, **changes.get(stage, {})} for stage, values in self.settings.items()}
        variant.seed = self.seed if seed is None else seed
        variant.index_folder = self.folder("index")
        return variant

    @cached_property
    def input(self) -> Input:
        """The input of this run."""
        index = self.settings["index"]
        return Input(
            self.collection_name,
            self.source or collections.located(self.collection_name),
            self.provided,
            self.corpus_folder or self.workspace.folder / "corpus",
            index["passage_words"],
            index["passage_overlap"],
            index["max_tokens"],
            self.kept,
        )

    @cached_property
    def base(self) -> BaseRetrievers:
        """The unadapted retrievers."""
        return BaseRetrievers(self.settings, self.folder("index"), self.input)

    @property
    def store(self) -> Store:
        """Cached LLM answers, candidates and scores."""
        return Store(self.workspace.folder, self.budget, self.batch_file)

    @contextmanager
    def candidates(
        self, indexed: StageOutput, depth: int = SHARED_DEPTH, weights: Mapping[str, float] | None = None
    ) -> Iterator[CachedCandidates]:
        """Candidates of the base retrievers; each query is searched once for all stages.

        weights: of the retriever that asks, see `BaseRetrievers.candidates`.
        """
        with self.store.candidates(indexed) as kept:
            yield self.base.candidates(kept, depth, weights)

    @property
    def seeds_prompts(self) -> bool:
        """True if generate uses prompts made from the corpus."""
        return not self.provided.brings_queries and ADAPTED in plain_names(self.settings["generate"]["prompt"])

    @property
    def llms(self) -> dict[str, str]:
        """The LLM of each stage that uses one."""
        stages = ["seed"] * self.seeds_prompts + ["generate"] * (not self.provided.brings_queries)
        filters, percentile_of = (self.settings["filter"][name] for name in ("filters", "percentile_of"))
        stages += ["filter"] * ("judge" in filters or ("percentile" in filters and percentile_of == "grade"))
        return {stage: self.settings[stage]["llm"] for stage in stages}

    @property
    def writer(self) -> str:
        """The LLM that writes the synthetic queries; "given" if they are provided."""
        return "given" if self.provided.brings_queries else self.settings["generate"]["llm"]

    @property
    def student_kinds(self) -> list[str]:
        """The kinds of the students, named after the retrievers that they start from."""
        return [STUDENT_KINDS[name] for name in self.settings["distill"]["student"]]
