"""The records that stages exchange, and the protocols of scorers and retrievers (that of LLMs: `llm/protocol.py`).

Records are named tuples with the field names of ir_datasets and ir_measures, so both take them unconverted. Ids are
strings everywhere. A reranked retriever is a retriever; a teacher is a scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Doc(NamedTuple):
    """What is indexed and shown.

    >>> acclimate.Doc("d1", "It erupts.", "Volcano").default_text()
    'Volcano It erupts.'
    """

    doc_id: str
    text: str
    title: str = ""

    def default_text(self) -> str:
        """The one text that every model reads: title, one blank, text; just the text when there is no title."""
        return f"{self.title} {self.text}" if self.title else self.text


class Query(NamedTuple):
    """What is searched for.

    >>> acclimate.Query("q1", "why does lava erupt").text
    'why does lava erupt'
    """

    query_id: str
    text: str


class Qrel(NamedTuple):
    """A judgment: the relevance grade (an integer, 0 is not relevant) of one doc for one query.

    >>> acclimate.Qrel("q1", "d1", 2).relevance
    2
    """

    query_id: str
    doc_id: str
    relevance: int
    iteration: str = "0"


class ScoredDoc(NamedTuple):
    """One line of a run; higher scores are better.

    >>> max([acclimate.ScoredDoc("q1", "d1", 0.4), acclimate.ScoredDoc("q1", "d2", 0.9)], key=lambda hit: hit.score)
    ScoredDoc(query_id='q1', doc_id='d2', score=0.9)
    """

    query_id: str
    doc_id: str
    score: float


class SyntheticQuery(NamedTuple):
    """A query that an LLM wrote for a source doc. `query_id` is a hash of doc_id and text.

    >>> acclimate.SyntheticQuery("q1", "why does lava erupt", "d1", -0.5).as_query()
    Query(query_id='q1', text='why does lava erupt')
    """

    query_id: str
    text: str
    doc_id: str
    logprob: float  # mean natural log-probability of the query's tokens, <= 0; nan when the LLM gives none
    prompt: str = ""  # the name of the prompt that asked for it, where one is known
    log_probs: tuple[float, ...] = ()  # natural log-probability of each of its tokens; none where the LLM gives none

    def as_query(self) -> Query:
        """What a retriever searches for."""
        return Query(self.query_id, self.text)


class PromptExample(NamedTuple):
    """A query and a doc that answers it, shown to an LLM so that it writes others like it."""

    query_id: str
    doc_id: str
    query: str
    document: str


class NWay(NamedTuple):
    """A training example: the positive first, then negatives; one teacher score per doc once a teacher has read it.

    Of a query that nobody wrote for a doc or judged, no doc is known to be a positive: the teacher's best is first.

    >>> positive, *negatives = acclimate.NWay("q1", ("d1", "d7", "d3")).doc_ids
    >>> positive, negatives
    ('d1', ['d7', 'd3'])
    """

    query_id: str
    doc_ids: tuple[str, ...]
    scores: tuple[float, ...] = ()
    has_positive: bool = True


class Completion(NamedTuple):
    """What an LLM answered: its text up to the stop, the log-probability of each chosen token, and the accounts."""

    text: str
    logprobs: tuple[float, ...]
    prompt_tokens: int
    completion_tokens: int
    # "stop" (a stop string or end of text), "length" (cut at max_new_tokens), "reasoning" (no answer came of it),
    # "content_filter" and "context" (the prompt was refused, or too long), "error" (no answer that can be used), or
    # what else a server says, which is no "stop"
    finish_reason: str


class Scorer(Protocol):
    """Rates (query, doc) pairs; higher is better, on a scale of its own."""

    @property
    def fingerprint(self) -> str: ...

    def score(self, pairs: Sequence[tuple[Query, str]]) -> list[float]:
        """One float per (query, doc_id) pair, in order."""
        ...


class Retriever(Protocol):
    """Finds docs."""

    @property
    def fingerprint(self) -> str: ...

    def search(self, queries: Sequence[Query], k: int) -> list[ScoredDoc]:
        """At most `k` docs per query, query by query in the order given, best first, ties by doc_id."""
        ...
