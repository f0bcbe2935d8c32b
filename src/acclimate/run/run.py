"""One run: its settings, its folder, its seed, and what it was asked for.

What it works with is in its parts: `input` (documents, queries, judgments), `base` (untouched retrievers) and `store`
(answers and scores that are kept). What its stages left is handed from stage to stage, see `stages.chain`.
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
from acclimate.run.given import NOTHING, Given
from acclimate.run.input import Input, Kept
from acclimate.run.output import Account, Output, StageOutput
from acclimate.run.retrievers import SHARED_DEPTH, BaseRetrievers
from acclimate.run.settings import Settings
from acclimate.run.store import Store
from acclimate.run.workspace import Workspace
from acclimate.search.kept_candidates import KeptCandidates
from acclimate.search.names import STUDENT_KINDS

DOCUMENTS = "documents"  # the input of a stage that reads all that is indexed


@dataclass
class Run:
    """One workspace and what it is made from."""

    workspace: Workspace
    settings: Settings
    seed: int
    collection_name: str
    given: Given = NOTHING
    recipe: str = "quick"
    budget: Budget = field(default_factory=Budget)  # not part of what is made
    batch_file: Path | None = None  # for requests that are not to be sent
    corpus_folder: Path | None = None  # where documents are kept; in the workspace when None
    index_folder: Path | None = None  # where the index is; in the workspace when None
    source: str | None = None  # the collection's name as it is meant in every folder
    kept: Kept | None = None  # documents to read instead of the source
    updated_folder: Path | None = None  # of the indexes that an update left; those of the stages when None

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
        """A stage of this run, from its folder if it is made; see `Workspace.make`. reads: the settings of the stage
        that count; None: all of them."""
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
        """The output of a stage as it is in its folder; None where it is not finished."""
        manifest = self.workspace.manifest(kind.stage)
        return None if manifest is None else kind(self.folder(kind.stage), manifest, resumed=True)

    def read(self, *names: str) -> dict[str, str]:
        """Settings of other stages, as inputs of one that reads them."""
        parts = {name: name.split(".") for name in names}
        return {name: str(self.settings[stage][setting]) for name, (stage, setting) in parts.items()}

    def folder(self, stage: str) -> Path:
        folder = self.updated_folder or self.index_folder
        if stage == "index" and folder is not None:
            return folder
        return self.workspace.folder / stage

    def variant(self, folder: Path, changes: Mapping[str, Mapping[str, Any]], *, seed: int | None = None) -> Run:
        """This run with other settings, stage -> setting -> value, for stages that are made in another folder.

        Input and index stay what they are, so their settings and the base stay too; what is loaded is shared.
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
        """What this run reads."""
        index = self.settings["index"]
        return Input(
            self.collection_name,
            self.source or collections.located(self.collection_name),
            self.given,
            self.corpus_folder or self.workspace.folder / "corpus",
            index["passage_words"],
            index["passage_overlap"],
            self.kept,
        )

    @cached_property
    def base(self) -> BaseRetrievers:
        """What the index makes of the untouched base."""
        return BaseRetrievers(self.settings, self.folder("index"), self.input)

    @property
    def store(self) -> Store:
        """What was asked of models."""
        return Store(self.workspace.folder, self.budget, self.batch_file)

    @contextmanager
    def candidates(
        self, indexed: StageOutput, depth: int = SHARED_DEPTH, weights: Mapping[str, float] | None = None
    ) -> Iterator[KeptCandidates]:
        """What the base finds for queries: each is searched once, whichever stage is the first to ask.

        weights: of the retriever that asks, see `BaseRetrievers.candidates`.
        """
        with self.store.candidates(indexed) as kept:
            yield self.base.candidates(kept, depth, weights)

    @property
    def seeds_prompts(self) -> bool:
        """True when generate uses prompts that are made from the corpus first."""
        return not self.given.brings_queries and ADAPTED in plain_names(self.settings["generate"]["prompt"])

    @property
    def llms(self) -> dict[str, str]:
        """The LLM of each stage that asks one."""
        stages = ["seed"] * self.seeds_prompts + ["generate"] * (not self.given.brings_queries)
        stages += ["filter"] * ("judge" in self.settings["filter"]["filters"])
        return {stage: self.settings[stage]["llm"] for stage in stages}

    @property
    def writer(self) -> str:
        """Who writes the synthetic queries: an LLM by its name, or who gave them."""
        return "given" if self.given.brings_queries else self.settings["generate"]["llm"]

    @property
    def student_kinds(self) -> list[str]:
        """The kinds of retrievers that students are, which are the names of those that they begin as."""
        return [STUDENT_KINDS[name] for name in self.settings["distill"]["student"]]
