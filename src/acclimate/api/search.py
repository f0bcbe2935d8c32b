"""Search with what a run recommends, or with any of its systems by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from acclimate.base.errors import unknown
from acclimate.base.files import read_json
from acclimate.base.text import single_spaced
from acclimate.corpus.documents import Corpus
from acclimate.records import Doc, Query, Retriever
from acclimate.report.formatting import excerpt
from acclimate.run.workspace import Made
from acclimate.search.folded import Folded
from acclimate.search.names import SystemName

if TYPE_CHECKING:
    from acclimate.run.run import Run

_SHOWN = 200  # characters of a document


class Hit(NamedTuple):
    """A document found."""

    doc: Doc  # what was found of it: its best passage, where it was split
    score: float
    document_id: str  # that of `doc`, where it was not

    def __str__(self) -> str:
        """Two lines for a terminal."""
        whole = f"(of {self.document_id})" if self.document_id != self.doc.doc_id else ""
        names = "  ".join(filter(None, map(single_spaced, (self.doc.doc_id, whole, self.doc.title))))
        return f"{self.score:8.4f}  {names}\n          {excerpt(self.doc.text, _SHOWN)}"


@dataclass(frozen=True)
class Searcher:
    """One system over one corpus."""

    name: str
    retriever: Retriever
    corpus: Corpus

    def search(self, text: str, k: int = 10) -> list[Hit]:
        """At most `k` documents, best first."""
        queries = [Query("query", text)]
        if isinstance(self.retriever, Folded):
            found = self.retriever.passages(queries, k)
            return [Hit(self.corpus[hit.doc_id], hit.score, self.retriever.document(hit.doc_id)) for hit in found]
        return [Hit(self.corpus[hit.doc_id], hit.score, hit.doc_id) for hit in self.retriever.search(queries, k)]


def load(run: Run, made: Mapping[str, Made], system: str | None = None) -> Searcher:
    """The system that a finished run recommends, or the one named."""
    from acclimate.search import systems

    measured = read_json(made["evaluate"].folder / "measured.json")
    name = SystemName(measured["recommended"] if system is None else system)
    members = {**run.members, **run.distilled(made["distill"].folder, made["distill"].notes).members()}
    stored = read_json(made["evaluate"].folder / "chosen.json")
    chosen = systems.Chosen(**{key: stored[key] for key in systems.Chosen._fields})
    reranker = run.trained(made["train"]).reranker() if name.is_reranked else None
    settings = run.settings["evaluate"]
    contenders = systems.contenders(
        run.ids,
        members,
        chosen,
        reranker,
        dict.fromkeys(members, 0),
        rerank_depth=settings["rerank_depth"],
    )
    found = {one.name: one for one in contenders}
    if name not in found:
        raise unknown("system", name, [one["name"] for one in measured["systems"]])
    return Searcher(name, found[name].retriever, run.corpus)
