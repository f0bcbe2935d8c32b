"""Search with what a run recommends, or with any of its systems by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acclimate.base.domains import Between
from acclimate.base.text import single_spaced
from acclimate.corpus.marks import Marker
from acclimate.deploy.filters import Fields
from acclimate.records import Doc, Query, Retriever, ScoredDoc, Scorer
from acclimate.report.formatting import excerpt
from acclimate.run.settings import whole_number
from acclimate.search.max_passage import MaxPassage
from acclimate.search.names import SystemName
from acclimate.search.reranked import Reranked
from acclimate.search.system import System
from acclimate.search.views import Views, blocks
from acclimate.stages.runs import reading
from acclimate.stages.systems import contenders, members_of, rerankers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.run.run import Run
    from acclimate.search.members import Member
    from acclimate.stages.chain import Outputs

K = Between(1, 100_000)  # documents to ask for
_SHOWN = 200  # characters of a document
_SHOWN_IN_A_LIST = 80


class Hit(NamedTuple):
    """A search result.

    >>> hit = acclimate.open("run").search("lava and ash", system="hybrid:equal")[0]
    >>> hit.document_id, hit.doc.title, sorted(hit.members)
    ('volcano.md', 'Volcano', ['bm25', 'dense', 'late-interaction'])
    """

    doc: Doc  # the document, or its best passage if documents were split
    score: float  # higher is better
    document_id: str  # equal to `doc.doc_id` unless documents were split
    members: Mapping[str, float]  # score of `doc` by each member of the system, each on its own scale
    fields: Mapping[str, Any] = {}  # other fields of the document, such as the columns of its table; see `Run.search`

    def as_dict(self) -> dict[str, Any]:
        """For JSON, named as in the service's answers; `passage_id` is None unless documents were split."""
        return {
            "doc_id": self.document_id,
            "passage_id": self.doc.doc_id if self.doc.doc_id != self.document_id else None,
            "title": self.doc.title,
            "text": self.doc.text,
            "score": self.score,
            "members": dict(self.members),
            "fields": dict(self.fields),
        }

    def __str__(self) -> str:
        return self.lines(excerpt(self.doc.text, _SHOWN))

    def lines(self, part: str) -> str:
        """Two lines for a terminal, with a part of the text; see `Run.excerpts`."""
        names = "  ".join(dict.fromkeys(filter(None, map(single_spaced, (self.doc.doc_id, self.doc.title)))))
        return f"{self.score:8.4f}  {names}\n          {part}"

    def __repr__(self) -> str:
        """One line, so that a list of hits stays readable in a notebook."""
        members = ", ".join(f"{name} {score:.4f}" for name, score in self.members.items())
        shown = excerpt(self.doc.default_text(), _SHOWN_IN_A_LIST)
        return f"<Hit {self.document_id!r} {self.score:.4f} ({members}): {shown}>"


class Searchers:
    """The systems of a finished run. They share members and rerankers, which are loaded when first needed. Not safe for
    threads."""

    def __init__(self, run: Run, outputs: Outputs) -> None:
        self.run = run
        self.outputs = outputs
        self.fields = Fields(run.input)
        self._views = Views()
        self._systems: dict[str, Retriever] = {}
        self._loaded: set[str] = set()  # systems that have answered

    def search(self, text: str, k: int, system: str | None, filters: str = "") -> list[Hit]:
        """At most `k` documents, best first."""
        return self.hits([text], k, system, filters)[0]

    def hits(self, texts: Sequence[str], k: int, system: str | None = None, filters: str = "") -> list[list[Hit]]:
        """At most `k` documents for each text, best first, of all or of those that pass canonical filters.

        Systems asked for the same texts (up to some dozens) in turn share encoded queries and scores.
        """
        hits_by_text = dict[str, list[Hit]]()
        with self._answering(system):
            retriever = self.named(system)
            if filters:
                retriever = _restricted(retriever, self.fields.rows(filters))
            queries = [Query(text, text) for text in dict.fromkeys(texts)]
            for block in blocks(queries, len(self.run.base.ids)):
                hits_by_text |= self._hits_of_block(block, k, retriever)
        return [hits_by_text[text] for text in texts]

    def excerpts(self, text: str, hits: Iterable[Hit]) -> list[str]:
        """See `Run.excerpts`."""
        marker = Marker(self.run.base.bm25.analyzer)
        return [marker.part(text, hit.doc.text, _SHOWN) for hit in hits]

    def scored(self, queries: Sequence[Query], k: int, system: str | None) -> list[ScoredDoc]:
        """At most `k` documents per query, in the order of the queries."""
        name = self.checked_name(system)
        with self._answering(name):
            return self._system(name, Views(), _plain).search(queries, _checked(k)) if queries else []

    @contextmanager
    def _answering(self, system: str | None) -> Iterator[None]:
        """Context for answering with a system, which loads its files on first use; see `reading`."""
        name = self.checked_name(system)
        with reading(self.run, self.outputs, loads=name not in self._loaded):
            yield
        self._loaded.add(name)

    def named(self, system: str | None) -> Retriever:
        """The system of that name; None: the recommended one."""
        name = self.checked_name(system)
        if name not in self._systems:
            self._systems[name] = self._system(name, self._views, _RecordingScorer)
        return self._systems[name]

    def checked_name(self, system: str | None) -> SystemName:
        """See `Evaluated.servable`; nothing is loaded."""
        return self.outputs["evaluate"].servable(system)

    def _hits_of_block(self, queries: Sequence[Query], k: int, retriever: Retriever) -> dict[str, list[Hit]]:
        """query_id -> its hits."""
        search = retriever.passages if isinstance(retriever, MaxPassage) else retriever.search
        scored: dict[str, list[ScoredDoc]] = {query.query_id: [] for query in queries}
        for hit in search(queries, _checked(k)):
            scored[hit.query_id].append(hit)
        members = _scores_by_member(retriever, queries, scored)
        return {
            query_id: [self._hit(hit, scores) for hit, scores in zip(hits, members[query_id], strict=True)]
            for query_id, hits in scored.items()
        }

    def _hit(self, hit: ScoredDoc, scores: Mapping[str, float]) -> Hit:
        document_id = self.run.input.parents.get(hit.doc_id, hit.doc_id)
        return Hit(self.run.input.corpus[hit.doc_id], hit.score, document_id, scores, self.fields.of(document_id))

    @cached_property
    def _members(self) -> Mapping[str, Member]:
        return members_of(self.run, self.outputs.get("distill"))

    @cached_property
    def _rerankers(self) -> Mapping[str, Scorer]:
        return rerankers(self.run, self.outputs.get("train"))

    def _system(self, name: SystemName, views: Views, wrap: Callable[[str, Scorer], Scorer]) -> Retriever:
        """Build a system, loading only its own members; it keeps the views of its last queries."""
        scorers = {name.reranker: wrap(name.reranker, self._rerankers[name.reranker])} if name.is_reranked else {}
        chosen = self.outputs["evaluate"].chosen.only(name)
        systems = contenders(self.run, self._members, chosen, scorers, views=views)
        return next(system.retriever for system in systems if system.name == name)


@dataclass(frozen=True)
class _RecordingScorer:
    """A scorer that records its scores, so that hits can show them without scoring again."""

    name: str
    scorer: Scorer
    scores: dict[tuple[Query, str], float] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        return self.scorer.fingerprint

    @property
    def by_pair(self) -> bool:
        """See `scorers.lists`."""
        return getattr(self.scorer, "by_pair", False)

    def score(self, pairs: Sequence[tuple[Query, str]]) -> list[float]:
        """One float per pair, in order."""
        scores = self.scorer.score(pairs)
        self.scores.update(zip(pairs, map(float, scores), strict=True))
        return scores

    def take_scores(self) -> dict[tuple[Query, str], float]:
        """Return the recorded scores and clear them."""
        scores = dict(self.scores)
        self.scores.clear()
        return scores


def _plain(name: str, scorer: Scorer) -> Scorer:
    """The scorer itself, which records nothing, for any number of queries."""
    return scorer


def _restricted(retriever: Retriever, rows: NDArray[np.int64]) -> Retriever:
    """The same system restricted to these rows."""
    if isinstance(retriever, MaxPassage | Reranked):
        return replace(retriever, first=_restricted(retriever.first, rows))
    assert isinstance(retriever, System)
    return replace(retriever, within=rows)


def _scores_by_member(
    retriever: Retriever, queries: Sequence[Query], hits: Mapping[str, Sequence[ScoredDoc]]
) -> dict[str, list[dict[str, float]]]:
    """Scores of each hit by each member of the system, by query; the reranker scores only the first hits."""
    if isinstance(retriever, MaxPassage):
        retriever = retriever.first
    reranker, reranked = "", dict[tuple[Query, str], float]()
    if isinstance(retriever, Reranked):
        assert isinstance(retriever.scorer, _RecordingScorer)
        reranker, reranked, retriever = retriever.scorer.name, retriever.scorer.take_scores(), retriever.first
    assert isinstance(retriever, System)
    assert retriever.views is not None
    members = {name: retriever.members[name] for name in retriever.parts}
    scores_by_query: dict[str, list[dict[str, float]]] = {}
    for query, views in zip(queries, retriever.views.of(queries, members), strict=True):
        doc_ids = [hit.doc_id for hit in hits[query.query_id]]
        rows = np.array([retriever.ids.row[doc_id] for doc_id in doc_ids], dtype=np.int64)
        columns = {name: view.scores(rows) for name, view in views.items()}
        scores_by_query[query.query_id] = [
            {name: float(scores[place]) for name, scores in columns.items()}
            | ({reranker: reranked[query, doc_id]} if (query, doc_id) in reranked else {})
            for place, doc_id in enumerate(doc_ids)
        ]
    return scores_by_query


def _checked(k: int) -> int:
    return whole_number(k, "k", K)
