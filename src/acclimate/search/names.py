"""Names of systems and students, and what they say."""

from __future__ import annotations

import re
from typing import Any

from acclimate.base.digests import fingerprint

RERANKER = "reranker"  # trained by the run, or provided
FIRST_STAGE = "first-stage"  # a provided run
_ADAPTED, _FEEDBACK, _RERANKED = ":adapted", ":feedback", f"+{RERANKER}"
FEEDBACK = f"bm25{_FEEDBACK}"  # a member of hybrids: see `search.feedback`
_UNTOUCHED = ("bm25", "dense", "hybrid", FIRST_STAGE)  # defaults of search engines, and what the user brings
_HYBRIDS = ("hybrid", "hybrid:equal", "hybrid:tuned", "hybrid:adapted")  # each is made from the one before
_RERANKING = re.compile(r"(?P<reranker>.*?)(?:@(?P<depth>[0-9]{1,9}))?(?:=(?P<weight>[0-9]*\.?[0-9]+))?", re.DOTALL)
_LONGEST = 120  # characters of a file name


class SystemName(str):
    """`bm25`, `dense:adapted`, `hybrid:adapted:feedback`, `hybrid+reranker`, `bm25+cross-encoder:MODEL@1000=1`.

    After the plus: `RERANKER[@DEPTH][=WEIGHT]`, the run's reranker or a scorer by name, the number of documents it
    reranks, and its weight against the first stage. A str, so it works as a key and in JSON; only this class parses
    names.
    """

    __slots__ = ()

    def adapted(self) -> SystemName:
        """The name of the adapted retriever."""
        return SystemName(self + _ADAPTED)

    def with_feedback(self) -> SystemName:
        """The name of this hybrid with feedback in place of BM25."""
        return SystemName(self + _FEEDBACK)

    def reranked(self) -> SystemName:
        """The name of this system with the run's reranker; unchanged if it is reranked."""
        return self if self.is_reranked else SystemName(self + _RERANKED)

    @property
    def is_untouched(self) -> bool:
        """True for what exists before adapting: BM25, dense retrieval, their rank fusion, and a provided run."""
        return self in _UNTOUCHED

    @property
    def is_reranked(self) -> bool:
        return "+" in self

    @property
    def is_adapted(self) -> bool:
        """True if a part of it, retriever or reranker, was trained for these documents."""
        return self.first.removesuffix(_FEEDBACK).endswith(_ADAPTED) or self.reranker == RERANKER

    @property
    def has_feedback(self) -> bool:
        return self.first.endswith(_FEEDBACK)

    @property
    def is_servable(self) -> bool:
        """False for a provided run, reranked or not, which answers no other queries."""
        return self.first != FIRST_STAGE

    @property
    def first(self) -> SystemName:
        """The first stage, without a reranker."""
        return SystemName(self.partition("+")[0])

    @property
    def reranker(self) -> str:
        """`reranker`, or a scorer by name (see `scorers.named`); empty if nothing is reranked."""
        return self._reranking["reranker"]

    @property
    def depth(self) -> int | None:
        """Number of documents to rerank; None if a setting decides."""
        return int(self._reranking["depth"]) if self._reranking["depth"] else None

    @property
    def weight(self) -> float | None:
        """The reranker's weight; None if it is to be chosen."""
        return float(self._reranking["weight"]) if self._reranking["weight"] else None

    @property
    def _reranking(self) -> re.Match[str]:
        match = _RERANKING.fullmatch(self.partition("+")[2])
        assert match is not None
        return match

    @property
    def origin(self) -> SystemName:
        """The system that it was made from by the last step; itself if none."""
        if self in _HYBRIDS[1:]:
            return SystemName(_HYBRIDS[_HYBRIDS.index(self) - 1])
        if self.is_reranked:
            return self.first
        return SystemName(self.removesuffix(_FEEDBACK if self.has_feedback else _ADAPTED))

    @property
    def steps(self) -> int:
        """Number of steps from a system without origin."""
        return 0 if self.origin == self else 1 + self.origin.steps

    @property
    def retriever(self) -> str:
        """bm25, dense, late-interaction, sparse, static, hybrid, or first-stage."""
        return self.first.partition(":")[0]

    @property
    def kind(self) -> str:
        """reranked, run, or the retriever."""
        if self.is_reranked:
            return "reranked"
        return "run" if self == FIRST_STAGE else self.retriever

    @property
    def facts(self) -> dict[str, Any]:
        """The name's facts, as a report has them."""
        return {
            "name": str(self), "untouched": self.is_untouched, "adapted": self.is_adapted, "kind": self.kind,
        }  # fmt: skip

    @property
    def file_name(self) -> str:
        """A file name valid on every system, distinct for distinct names."""
        plain = re.sub(r"[^\w.+@=-]", "-", self, flags=re.ASCII)
        if plain == self.replace(":", "-") and len(plain) <= _LONGEST:
            return plain
        return f"{plain[:_LONGEST]}-{fingerprint(str(self))[:8]}"


# Value of `distill.student` -> the kind of retriever it gives. `-query` trains the query encoder alone.
STUDENT_KINDS = {
    "dense": "dense",
    "dense-query": "dense",
    "late-interaction": "late-interaction",
    "late-interaction-query": "late-interaction",
    "sparse": "sparse",
    "sparse-query": "sparse",
    "static": "static",
}
# Kinds that no base has: their untrained students are made from base and corpus, and are measured, too.
KINDS_WITHOUT_BASE = ("sparse", "static")
