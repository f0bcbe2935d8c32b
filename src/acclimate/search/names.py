"""What systems and students are called, and what a name says."""

from __future__ import annotations

_ADAPTED, _RERANKED = ":adapted", "+reranker"


class SystemName(str):
    """`bm25`, `hybrid`, `dense:adapted`, `hybrid+reranker`, `hybrid:adapted+reranker`.

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
    def is_reranked(self) -> bool:
        return self.endswith(_RERANKED)

    @property
    def is_adapted(self) -> bool:
        """True where a part of it was trained for these documents: a retriever, or the reranker."""
        return self.endswith((_ADAPTED, _RERANKED))

    @property
    def origin(self) -> SystemName:
        """The system that it was made from by the last step; of one that is not adapted, itself."""
        return SystemName(self.removesuffix(_RERANKED if self.is_reranked else _ADAPTED))

    @property
    def retriever(self) -> str:
        """What its retriever is: bm25, dense, late-interaction, sparse, static, or hybrid."""
        return self.removesuffix(_RERANKED).removesuffix(_ADAPTED)

    @property
    def kind(self) -> str:
        """reranked, or what its retriever is."""
        return "reranked" if self.is_reranked else self.retriever

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
