"""What systems and students are called, and what a name says."""

from __future__ import annotations

from typing import Any

_ADAPTED, _RERANKED = ":adapted", "+reranker"
_UNTOUCHED = ("bm25", "dense", "hybrid")  # what search engines give by default
_HYBRIDS = ("hybrid", "hybrid:equal", "hybrid:tuned", "hybrid:adapted")  # each is made from the one before


class SystemName(str):
    """`bm25`, `hybrid`, `hybrid:tuned`, `dense:adapted`, `hybrid+reranker`, `hybrid:adapted+reranker`.

    A string like any other, so it is a key and stands in JSON as it is; nobody else takes names apart.
    """

    __slots__ = ()

    def adapted(self) -> SystemName:
        """The name of the same retriever once it has learned."""
        return SystemName(self + _ADAPTED)

    def reranked(self) -> SystemName:
        """The name of this system with the reranker behind it."""
        return SystemName(self + _RERANKED)

    @property
    def is_untouched(self) -> bool:
        """True for what people have before they adapt anything: BM25, dense retrieval, and the ranks of both added."""
        return self in _UNTOUCHED

    @property
    def is_reranked(self) -> bool:
        return self.endswith(_RERANKED)

    @property
    def is_adapted(self) -> bool:
        """True where a part of it was trained for these documents: a retriever, or the reranker."""
        return self.endswith((_ADAPTED, _RERANKED))

    @property
    def origin(self) -> SystemName:
        """The system that it was made from by the last step; of one that was made from none, itself."""
        if self in _HYBRIDS[1:]:
            return SystemName(_HYBRIDS[_HYBRIDS.index(self) - 1])
        return SystemName(self.removesuffix(_RERANKED if self.is_reranked else _ADAPTED))

    @property
    def steps(self) -> int:
        """How many steps lead to it from one that was made from none."""
        return 0 if self.origin == self else 1 + self.origin.steps

    @property
    def retriever(self) -> str:
        """What its retriever is: bm25, dense, late-interaction, sparse, static, or hybrid."""
        return self.removesuffix(_RERANKED).partition(":")[0]

    @property
    def kind(self) -> str:
        """reranked, or what its retriever is."""
        return "reranked" if self.is_reranked else self.retriever

    @property
    def facts(self) -> dict[str, Any]:
        """What it says of a system, as a report has it."""
        return {
            "name": str(self), "untouched": self.is_untouched, "adapted": self.is_adapted, "kind": self.kind,
        }  # fmt: skip

    @property
    def file_name(self) -> str:
        """It, without what a file's name cannot have on every system."""
        return self.replace(":", "-")


# What `distill.student` may name -> the kind of retriever that it makes. `-query` trains the query encoder alone.
STUDENT_KINDS = {
    "dense": "dense",
    "dense-query": "dense",
    "late-interaction": "late-interaction",
    "late-interaction-query": "late-interaction",
    "sparse": "sparse",
    "sparse-query": "sparse",
    "static": "static",
}
# Kinds that no base is of: where such a student starts is made from base and corpus, and is measured, too.
KINDS_WITHOUT_BASE = ("sparse", "static")
