"""The base retrievers of a run: the unadapted encoder and its index. Each is loaded on first use."""

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
from acclimate.search.cached_candidates import CachedCandidates, Finding, Retrievers
from acclimate.search.value_cache import ValueCache

if TYPE_CHECKING:
    from acclimate.search.bm25 import BM25
    from acclimate.search.encoded import Task
    from acclimate.search.encoder import Encoder
    from acclimate.search.members import Ids, Member, QueryEncoder
    from acclimate.search.vectors import Vectors

BASE_MEMBERS = ("bm25", "dense", "late-interaction")
SOURCES = ("bm25", "dense")  # late interaction only reranks what these find
NO_TOKENS = "none"  # value of `index.tokens` for no token vectors, and so no late interaction
RETRIEVERS: dict[str, dict[str, float]] = {  # name -> weights of its members
    "hybrid": dict.fromkeys(SOURCES, 0.5),
    **{name: {name: 1.0} for name in BASE_MEMBERS},
}
SHARED_DEPTH = 100  # depth at which all stages share candidates
# The settings that the encoder depends on.
ENCODER = ("distill.base", "index.max_tokens", "index.query_prompt", "index.document_prompt")


def sources_of(weights: Mapping[str, float]) -> tuple[str, ...]:
    """The sources of candidates for a retriever with these weights."""
    return tuple(name for name in SOURCES if name in weights) or SOURCES


@dataclass
class BaseRetrievers:
    """BM25, dense retrieval and late interaction without any adaptation."""

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
        """The prompts that override the model's own."""
        from acclimate.search.encoded import AUTO

        index = self.settings["index"]
        prompts: dict[Task, str] = {"query": index["query_prompt"], "document": index["document_prompt"]}
        return {task: prompt for task, prompt in prompts.items() if prompt != AUTO}

    @cached_property
    def query_encoder(self) -> QueryEncoder:
        """An encoder for queries only; reads just the files that this needs, if possible."""
        from acclimate.search import query_side

        name, max_tokens = self.settings["distill"]["base"], self.settings["index"]["max_tokens"]
        if self._prompts:
            return self.encoder
        weights = partial(models.weights_fingerprint, name)
        return query_side.load_query_side(models.folder(name), weights, max_tokens=max_tokens) or self.encoder

    @cached_property
    def ids(self) -> Ids:
        """Document or passage ids, by row of the index."""
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
        """`BASE_MEMBERS`, without late interaction if the index has no token vectors."""
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

    def candidates(self, kept: ValueCache, depth: int, weights: Mapping[str, float] | None = None) -> CachedCandidates:
        """The first `depth` hits of BM25 and of dense retrieval for each query, scored by every base member.

        Beyond `SHARED_DEPTH`, only what a retriever with these weights needs is stored: for BM25 alone, 9 bytes per
        hit.
        """
        sources, names = SOURCES, self.names
        if weights and depth > SHARED_DEPTH:
            sources = sources_of(weights)
            names = tuple(dict.fromkeys((*sources, *weights)))
        elsewhere = partial(_retrievers, self.settings, self.folder, self.input.as_kept)
        return CachedCandidates(kept, Retrievers(self.ids, self.members), elsewhere, Finding(sources, names, depth))

    def index_bytes(self, member: Member) -> int:
        """Size on disk of a member's index, also of adapted ones."""
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
