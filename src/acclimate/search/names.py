"""What systems and students are called, and what a name says."""

from __future__ import annotations

import re
from typing import Any

from acclimate.base.digests import fingerprint

RERANKER = "reranker"  # what a run trains, or was given
FIRST_STAGE = "first-stage"  # a run of somebody else's
_ADAPTED, _RERANKED = ":adapted", f"+{RERANKER}"
_UNTOUCHED = ("bm25", "dense", "hybrid", FIRST_STAGE)  # what search engines give by default, and what a person brings
_HYBRIDS = ("hybrid", "hybrid:equal", "hybrid:tuned", "hybrid:adapted")  # each is made from the one before
_RERANKING = re.compile(r"(?P<reranker>.*?)(?:@(?P<depth>[0-9]{1,9}))?(?:=(?P<weight>[0-9]*\.?[0-9]+))?", re.DOTALL)
_LONGEST = 120  # characters of a file's name


class SystemName(str):
    """`bm25`, `hybrid:tuned`, `dense:adapted`, `hybrid+reranker`, `bm25+cross-encoder:MODEL@1000=1`.

    Behind a plus stands who puts its first documents in order: `RERANKER[@DEPTH][=WEIGHT]`, the reranker of the run or
    a scorer by name, how many documents, and what it counts for.
    A string like any other, so it is a key and stands in JSON as it is; nobody else takes names apart.
    """

    __slots__ = ()

    def adapted(self) -> SystemName:
        """The name of the same retriever once it has learned."""
        return SystemName(self + _ADAPTED)

    def reranked(self) -> SystemName:
        """The name of this system with the reranker behind it; its own where one is."""
        return self if self.is_reranked else SystemName(self + _RERANKED)

    @property
    def is_untouched(self) -> bool:
        """True for what people have before they adapt anything: BM25, dense retrieval, the ranks of both added, and a
        run that they bring."""
        return self in _UNTOUCHED

    @property
    def is_reranked(self) -> bool:
        return "+" in self

    @property
    def is_adapted(self) -> bool:
        """True where a part of it was trained for these documents: a retriever, or the reranker."""
        return self.first.endswith(_ADAPTED) or self.reranker == RERANKER

    @property
    def is_servable(self) -> bool:
        """False for a run and what reranks it: they answer no other queries."""
        return self.first != FIRST_STAGE

    @property
    def first(self) -> SystemName:
        """The system without what reranks it."""
        return SystemName(self.partition("+")[0])

    @property
    def reranker(self) -> str:
        """`reranker`, or a scorer by name, see `scorers.named`; nothing where nothing is reranked."""
        return self._reranking["reranker"]

    @property
    def depth(self) -> int | None:
        """Documents that are reranked; None where the name leaves it to a setting."""
        return int(self._reranking["depth"]) if self._reranking["depth"] else None

    @property
    def weight(self) -> float | None:
        """What the reranker counts for; None where it is to be chosen."""
        return float(self._reranking["weight"]) if self._reranking["weight"] else None

    @property
    def _reranking(self) -> re.Match[str]:
        match = _RERANKING.fullmatch(self.partition("+")[2])
        assert match is not None
        return match

    @property
    def origin(self) -> SystemName:
        """The system that it was made from by the last step; of one that was made from none, itself."""
        if self in _HYBRIDS[1:]:
            return SystemName(_HYBRIDS[_HYBRIDS.index(self) - 1])
        return self.first if self.is_reranked else SystemName(self.removesuffix(_ADAPTED))

    @property
    def steps(self) -> int:
        """How many steps lead to it from one that was made from none."""
        return 0 if self.origin == self else 1 + self.origin.steps

    @property
    def retriever(self) -> str:
        """What its retriever is: bm25, dense, late-interaction, sparse, static, hybrid, or first-stage."""
        return self.first.partition(":")[0]

    @property
    def kind(self) -> str:
        """reranked, run, or what its retriever is."""
        if self.is_reranked:
            return "reranked"
        return "run" if self == FIRST_STAGE else self.retriever

    @property
    def facts(self) -> dict[str, Any]:
        """What it says of a system, as a report has it."""
        return {
            "name": str(self), "untouched": self.is_untouched, "adapted": self.is_adapted, "kind": self.kind,
        }  # fmt: skip

    @property
    def file_name(self) -> str:
        """It, without what a file's name cannot have on every system: different names have different ones."""
        plain = re.sub(r"[^\w.+@=-]", "-", self, flags=re.ASCII)
        if plain == self.replace(":", "-") and len(plain) <= _LONGEST:
            return plain
        return f"{plain[:_LONGEST]}-{fingerprint(str(self))[:8]}"


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
