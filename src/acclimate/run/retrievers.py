"""The base of a run, untouched: its encoder, and the retrievers that the index makes of it. Each is loaded when it is
first asked for, so a run whose stages are all made loads none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.base import models
from acclimate.base.digests import fingerprint
from acclimate.base.lazy import Lazy
from acclimate.run.input import Input
from acclimate.run.settings import Settings
from acclimate.search.kept_candidates import Finding, KeptCandidates, Retrievers
from acclimate.search.kept_values import KeptValues

if TYPE_CHECKING:
    from acclimate.search.bm25 import BM25
    from acclimate.search.encoded import Task
    from acclimate.search.encoder import Encoder
    from acclimate.search.members import Ids, Member, QueryEncoder
    from acclimate.search.vectors import Vectors

BASE_MEMBERS = ("bm25", "dense", "late-interaction")
SOURCES = ("bm25", "dense")  # late interaction only orders what these find
NO_TOKENS = "none"  # as `index.tokens`: token vectors are not made, so there is no late interaction
RETRIEVERS: dict[str, dict[str, float]] = {  # by name: the weights of the members that order what is found
    "hybrid": dict.fromkeys(SOURCES, 0.5),
    **{name: {name: 1.0} for name in BASE_MEMBERS},
}
SHARED_DEPTH = 100  # so deep every stage looks
ENCODER = ("distill.base", "index.max_tokens", "index.query_prompt", "index.document_prompt")  # what loading it takes


def sources_of(weights: Mapping[str, float]) -> tuple[str, ...]:
    """Who finds what a retriever with these weights orders."""
    return tuple(name for name in SOURCES if name in weights) or SOURCES


@dataclass
class BaseRetrievers:
    """BM25, dense retrieval and late interaction as nobody has adapted them."""

    settings: Settings
    folder: Path  # of the index
    input: Input

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the encoder, without loading it."""
        base, index = self.settings["distill"]["base"], self.settings["index"]
        read = [index[name] for name in ("max_tokens", "query_prompt", "document_prompt")]
        return fingerprint(models.weights_fingerprint(base), read, models.dtype_name())

    @cached_property
    def encoder(self) -> Encoder:
        from acclimate.search.encoder import Encoder

        max_tokens = self.settings["index"]["max_tokens"]
        return Encoder.load(self.settings["distill"]["base"], max_tokens=max_tokens, prompts=self._prompts)

    @property
    def _prompts(self) -> dict[Task, str]:
        """The prompts that are in the place of the model's own."""
        from acclimate.search.encoded import AUTO

        index = self.settings["index"]
        prompts: dict[Task, str] = {"query": index["query_prompt"], "document": index["document_prompt"]}
        return {task: prompt for task, prompt in prompts.items() if prompt != AUTO}

    @cached_property
    def query_encoder(self) -> QueryEncoder:
        """The encoder as far as queries need it: of its files alone, where that can be."""
        from acclimate.search import query_side

        name, max_tokens = self.settings["distill"]["base"], self.settings["index"]["max_tokens"]
        if self._prompts:
            return self.encoder
        weights = partial(models.weights_fingerprint, name)
        return query_side.opened(models.folder(name), weights, max_tokens=max_tokens) or self.encoder

    @cached_property
    def ids(self) -> Ids:
        """The ids of what is searched, by row of the index."""
        from acclimate.search.members import Ids

        return Ids(self.input.corpus.ids, self.input.parents)

    @cached_property
    def vectors(self) -> Vectors:
        """The encoder's vectors of the corpus."""
        from acclimate.search.vectors import Vectors

        return Vectors.open(self.folder / "vectors")

    @cached_property
    def bm25(self) -> BM25:
        from acclimate.search.bm25 import BM25

        return BM25.open(self.folder / "bm25")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """`BASE_MEMBERS`, without late interaction where the index has no token vectors."""
        import numpy as np

        return BASE_MEMBERS if len(np.load(self.folder / "vectors" / "tokens.npy", mmap_mode="r")) else SOURCES

    @cached_property
    def members(self) -> Lazy[Member]:
        """All of `names`, as members of systems."""
        return Lazy({name: partial(self._member, name) for name in self.names})

    def _member(self, name: str) -> Member:
        from acclimate.search.members import BM25Member, DenseMember, LateInteractionMember

        if name == "bm25":
            return BM25Member(self.bm25)
        return {"dense": DenseMember, "late-interaction": LateInteractionMember}[name](self.vectors, self.query_encoder)

    def candidates(self, kept: KeptValues, depth: int, weights: Mapping[str, float] | None = None) -> KeptCandidates:
        """What BM25 and dense retrieval find for queries, `depth` each, with what every base member thinks of it.

        Deeper than `SHARED_DEPTH`, only what a retriever with these weights takes: of BM25 alone, 9 bytes a hit.
        """
        sources, names = SOURCES, self.names
        if weights and depth > SHARED_DEPTH:
            sources = sources_of(weights)
            names = tuple(dict.fromkeys((*sources, *weights)))
        elsewhere = partial(_retrievers, self.settings, self.folder, self.input.as_kept)
        return KeptCandidates(kept, Retrievers(self.ids, self.members), elsewhere, Finding(sources, names, depth))

    def index_bytes(self, member: Member) -> int:
        """What the index of a member, adapted ones too, takes on disk."""
        from acclimate.search.members import BM25Member, DenseMember, LateInteractionMember, SparseMember

        if isinstance(member, SparseMember):
            return member.index.nbytes
        if isinstance(member, BM25Member):
            return sum(path.stat().st_size for path in (self.folder / "bm25").iterdir())
        if isinstance(member, DenseMember):
            lists = member.vectors.approximate
            return member.vectors.pooled.nbytes + (lists.nbytes if lists else 0)
        assert isinstance(member, LateInteractionMember)
        return sum(part.nbytes for part in (member.vectors.tokens, member.vectors.scales, member.vectors.offsets))


def _retrievers(settings: Settings, folder: Path, input: Input) -> Retrievers:
    base = BaseRetrievers(settings, folder, input)
    return Retrievers(base.ids, base.members)
