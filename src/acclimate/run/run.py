"""What one run works with: its settings, and the corpus, models and indexes, each loaded when first asked for.

A run whose stages are all made loads none of the models, so repeating a command takes seconds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.base import models
from acclimate.base.errors import AcclimateError, BatchWritten, SettingError
from acclimate.base.files import fingerprint
from acclimate.base.progress import Progress
from acclimate.corpus import collections
from acclimate.corpus.documents import Corpus
from acclimate.corpus.judged import Labels
from acclimate.llm.completions import Completions, Ledger
from acclimate.llm.prices import Budget, as_options
from acclimate.llm.prompts import ADAPTED, plain_names
from acclimate.records import Query, Scorer
from acclimate.run.input import Input, Kept
from acclimate.run.output import Account, Output
from acclimate.run.settings import Settings
from acclimate.run.workspace import Workspace, plain
from acclimate.search.names import STUDENT_KINDS

if TYPE_CHECKING:
    from acclimate.search.candidates import Candidates
    from acclimate.search.encoder import Encoder
    from acclimate.search.members import Ids, Member
    from acclimate.search.vectors import Vectors


BASE_MEMBERS = ("bm25", "dense", "late-interaction")
DOCUMENTS = "documents"  # the input of a stage that reads all that is indexed
ENCODER = ("distill.base", "index.max_tokens", "index.query_prompt", "index.document_prompt")  # what loading it takes
SOURCES = ("bm25", "dense")  # late interaction only orders what these find


@dataclass
class Run:
    """One workspace and what it is made from."""

    workspace: Workspace
    settings: Settings
    seed: int
    collection_name: str
    queries_file: str | None = None
    qrels_file: str | None = None
    recipe: str = "quick"
    budget: Budget = field(default_factory=Budget)  # not part of what is made
    batch_file: Path | None = None  # for requests that are not to be sent
    corpus_folder: Path | None = None  # where documents are kept; in the workspace when None
    index_folder: Path | None = None  # where the index is; in the workspace when None
    source: str | None = None  # the collection's name as it is meant in every folder
    kept: Kept | None = None  # documents to read instead of the source

    def make(
        self,
        kind: type[Output],
        work: Callable[[Path, Progress], Account],
        *,
        inputs: Mapping[str, str],
        unit: str,
        together: bool = False,
        keeps: bool = False,
    ) -> Output:
        """A stage of this run, from its folder if it is made; see `Workspace.make`."""
        output = self.workspace.make(
            kind.stage,
            work,
            settings=self.settings[kind.stage],
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
        if stage == "index" and self.index_folder is not None:
            return self.index_folder
        return self.workspace.folder / stage

    def variant(self, folder: Path, changes: Mapping[str, Mapping[str, Any]], *, seed: int | None = None) -> Run:
        """This run with other settings, stage -> setting -> value, for stages that are made in another folder.

        Input and index stay what they are, so their settings and the base stay too; what is loaded is shared.
        """
        if "index" in changes or "base" in changes.get("distill", {}):
            raise SettingError("a variant shares the index; expected no change of index settings or of distill.base")
        self.input  # noqa: B018 (made once for both)
        other = copy.copy(self)  # with whatever is loaded
        other.workspace = Workspace(folder)
        other.settings = {stage: {**values, **changes.get(stage, {})} for stage, values in self.settings.items()}
        other.seed = self.seed if seed is None else seed
        other.index_folder = self.folder("index")
        return other

    @cached_property
    def input(self) -> Input:
        """What this run reads."""
        index = self.settings["index"]
        return Input(
            self.collection_name,
            self.source or collections.located(self.collection_name),
            self.queries_file,
            self.qrels_file,
            self.corpus_folder or self.workspace.folder / "corpus",
            index["passage_words"],
            index["passage_overlap"],
            self.kept,
        )

    @property
    def documents(self) -> Corpus:
        """What judgments are about."""
        return self.input.documents

    @property
    def corpus(self) -> Corpus:
        """What is indexed and what queries are written for: the documents, or passages of them."""
        return self.input.corpus

    @property
    def parents(self) -> dict[str, str]:
        """Passage -> the document that it is of; what is not in it is a document."""
        return self.input.parents

    @property
    def labels(self) -> Labels:
        return self.input.labels

    @property
    def seeds_prompts(self) -> bool:
        """True when generate uses prompts that are made from the corpus first."""
        return ADAPTED in plain_names(self.settings["generate"]["prompt"])

    @property
    def llms(self) -> dict[str, str]:
        """The LLM of each stage that asks one."""
        stages = ["seed"] * self.seeds_prompts + ["generate"]
        stages += ["filter"] * ("judge" in self.settings["filter"]["filters"])
        return {stage: self.settings[stage]["llm"] for stage in stages}

    @contextmanager
    def completions(self, stage: str) -> Iterator[Completions]:
        """The answers that are kept, and that a stage adds to as long as the budget lasts.

        Raises BatchWritten when what is missing goes into a batch file instead of to an LLM.
        """
        if self.batch_file is not None:
            from acclimate.llm.batches import BatchedCompletions

            with BatchedCompletions(self.workspace.folder / "completions.sqlite", stage) as batched:
                try:
                    yield batched
                except AcclimateError:  # a stage may well be unable to work with answers that are not there yet
                    if not batched.requests:
                        raise
                if batched.requests:
                    raise BatchWritten(
                        stage, batched.write(self.batch_file), batched.again, self.batch_file, self.workspace.folder
                    )
            return
        with Completions(self.workspace.folder / "completions.sqlite", stage) as kept:
            kept.guard = lambda left: self.budget.check(kept.ledger(), left)
            yield kept

    def ledger(self) -> Ledger:
        """What LLMs were asked for each stage, over every time that this run was begun."""
        with Completions(self.workspace.folder / "completions.sqlite") as kept:
            return kept.ledger()

    def asked(self, stage: str) -> dict[str, Any]:
        """What a stage asked of LLMs, over every time that it was begun; for its manifest."""
        return {"asked": {llm: used._asdict() for (of, llm), used in self.ledger().items() if of == stage}}

    @cached_property
    def encoder_fingerprint(self) -> str:
        """Of the base encoder, told without loading it."""
        base, index = self.settings["distill"]["base"], self.settings["index"]
        read = [index[name] for name in ("max_tokens", "query_prompt", "document_prompt")]
        return fingerprint(models.weights_fingerprint(base), read, models.dtype_name())

    @cached_property
    def encoder(self) -> Encoder:
        """The base encoder, untouched."""
        from acclimate.search.encoder import AUTO, Encoder, Task

        index = self.settings["index"]
        prompts: dict[Task, str] = {"query": index["query_prompt"], "document": index["document_prompt"]}
        return Encoder.load(
            self.settings["distill"]["base"],
            max_tokens=index["max_tokens"],
            prompts={task: prompt for task, prompt in prompts.items() if prompt != AUTO},
        )

    @cached_property
    def ids(self) -> Ids:
        from acclimate.search.members import Ids

        return Ids(self.corpus.ids, self.parents)

    @cached_property
    def vectors(self) -> Vectors:
        """The base encoder's vectors of the corpus."""
        from acclimate.search.vectors import Vectors

        return Vectors.open(self.folder("index") / "vectors")

    @cached_property
    def members(self) -> dict[str, Member]:
        """The unadapted members: BM25, dense, late interaction."""
        from acclimate.search.bm25 import BM25
        from acclimate.search.members import BM25Member, DenseMember, LateInteractionMember

        return {
            "bm25": BM25Member(BM25.open(self.folder("index") / "bm25")),
            "dense": DenseMember(self.vectors, self.encoder),
            "late-interaction": LateInteractionMember(self.vectors, self.encoder),
        }

    def find(self, queries: Sequence[Query], also: Sequence[int] = ()) -> Iterator[Candidates]:
        """Candidates of BM25 and dense retrieval, scored by every base member; `also`: see `System.candidates`."""
        from acclimate.search.system import System

        weights: dict[str, float] = dict.fromkeys(BASE_MEMBERS, 1.0)
        return System(self.ids, self.members, SOURCES, weights).candidates(queries, also)

    def scorers(self) -> dict[str, Scorer]:
        """The scorers in label.teachers that this run does not train."""
        from acclimate.search.scorers import named

        limit = self.settings["index"]["max_tokens"]
        return {name: named.load(name, self.corpus, max_doc_tokens=limit) for name in self.other_scorers}

    @property
    def student_kinds(self) -> list[str]:
        """The kinds of retrievers that students are, which are the names of those that they begin as."""
        return [STUDENT_KINDS[name] for name in self.settings["distill"]["student"]]

    @property
    def other_scorers(self) -> list[str]:
        """Of label.teachers: neither retrievers nor rerankers of this run."""
        return [name for name in self.settings["label"]["teachers"] if name not in BASE_MEMBERS and name != "reranker"]

    def index_bytes(self, member: Member) -> int:
        """What a member's index takes on disk."""
        from acclimate.search.members import BM25Member, DenseMember, LateInteractionMember, SparseMember

        if isinstance(member, SparseMember):
            return member.index.nbytes
        if isinstance(member, BM25Member):
            return sum(path.stat().st_size for path in (self.folder("index") / "bm25").iterdir())
        if isinstance(member, DenseMember):
            return member.vectors.pooled.nbytes
        assert isinstance(member, LateInteractionMember)
        return sum(part.nbytes for part in (member.vectors.tokens, member.vectors.scales, member.vectors.offsets))

    @property
    def summary(self) -> dict[str, Any]:
        """What `run.json` says: enough to go on with this run from its folder alone."""
        return {
            "corpus": self.collection_name,
            "source": self.input.source,
            "queries": self.queries_file and str(Path(self.queries_file).absolute()),
            "qrels": self.qrels_file and str(Path(self.qrels_file).absolute()),
            "recipe": self.recipe,
            "seed": self.seed,
            **as_options(self.budget.limits),
            "prices": str(self.budget.prices.absolute()) if self.budget.prices else None,
            "settings": {stage: plain(table) for stage, table in self.settings.items()},
        }
