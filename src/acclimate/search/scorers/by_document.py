"""LLM scorers that read each document once for all of its queries.

A prompt has three parts: before the document, between document and query, and after the query. Keys and values up to
the query are computed once per document. The document is truncated, never prompt or query.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import ClassVar, cast

from acclimate.base import distributed, models
from acclimate.base.digests import fingerprint
from acclimate.base.errors import SettingError
from acclimate.llm.decoders.decoder import LikelihoodDecoder, Rows
from acclimate.llm.decoders.loaded import Loaded
from acclimate.records import Doc, Query
from acclimate.search.scorers.lists import Pair

MAX_DOC_TOKENS = 256


class ByDocument(ABC):
    """A scorer that prompts a causal LM with a document and each of its queries; loaded on first use."""

    by_document: ClassVar[bool] = True  # pairs of one document belong in one call
    kind: ClassVar[str]
    prompt: ClassVar[str]  # with {document} and, later, {query}

    def __init__(self, name: str, corpus: Mapping[str, Doc], *, max_doc_tokens: int = MAX_DOC_TOKENS) -> None:
        self.name = name
        self.corpus = corpus
        self.max_doc_tokens = max_doc_tokens

    @property
    def fingerprint(self) -> str:
        """Digest of weights, prompt, precision and length."""
        weights = models.weights_fingerprint(self.name)
        return fingerprint(self.kind, weights, self.prompt, models.dtype_name(), self.max_doc_tokens)

    @property
    def maker(self) -> Callable[[], ByDocument]:
        """Makes the same scorer in another process, without documents; pickled."""
        return partial(type(self), self.name, {}, max_doc_tokens=self.max_doc_tokens)

    def score(self, pairs: Sequence[Pair]) -> list[float]:
        """One score per (query, doc_id), in order. Raises SettingError if a query leaves no room."""
        (scores,) = self.score_calls([pairs])
        return scores

    def score_calls(self, calls: Iterable[Sequence[Pair]]) -> Iterator[list[float]]:
        """Scores of each call, in order; other processes share the calls."""
        asked = ([(query, self.corpus[doc_id]) for query, doc_id in pairs] for pairs in calls)
        return distributed.shared(self, self.maker, ByDocument.score_docs, asked)

    def score_docs(self, pairs: Sequence[tuple[Query, Doc]]) -> list[float]:
        """`score_calls` for documents passed directly."""
        if not pairs:
            return []
        docs = {doc.doc_id: doc for _, doc in pairs}
        numbers = {doc_id: number for number, doc_id in enumerate(docs)}
        read = [self._document(doc) for doc in docs.values()]
        of = [numbers[doc.doc_id] for _, doc in pairs]
        rows = [self._query(query.text) for query, _ in pairs]
        for (query, doc), number, row in zip(pairs, of, rows, strict=True):
            if len(read[number]) + len(row) > self._loaded.context:
                raise SettingError(
                    f"{self.kind}:{self.name} reads {self._loaded.context} tokens; found {len(read[number])} with "
                    f"document {doc.doc_id} and {len(row)} of query {query.query_id}"
                )
        # Leave the last token before the query to be read with it: it predicts the query's first token.
        starts = [tokens[:-1] for tokens in read]
        asked = [[read[number][-1], *row] for number, row in zip(of, rows, strict=True)]

        def rate(places: Sequence[int]) -> list[float]:
            number = {start: number for number, start in enumerate(dict.fromkeys(of[place] for place in places))}
            start_of = [number[of[place]] for place in places]
            return self._rate([starts[start] for start in number], [asked[place] for place in places], start_of)

        what = f"a document and a query in {self.name}; choose a smaller model, or lower index.max_tokens"
        return self._loaded.halving(rate, range(len(asked)), what=what, free_caches=self._loaded.forget)

    @abstractmethod
    def _rate(self, starts: Rows, rows: Rows, of: Sequence[int]) -> list[float]:
        """A score for each row after the prefix that `of` names."""

    def _document(self, doc: Doc) -> list[int]:
        """Tokens up to the query."""
        text = self._loaded.cut(doc.default_text().strip(), self.max_doc_tokens)
        before, between, _ = self._parts
        return [*before, *self._ids(f" {text}"), *between]

    def _query(self, text: str) -> list[int]:
        """Tokens of the query and after it."""
        return [*self._ids(f" {text.strip()}"), *self._parts[2]]

    def _ids(self, text: str) -> list[int]:
        """Tokens of a text, in which special ones are not recognized."""
        return self._loaded.tokenizer(text, split_special_tokens=True, add_special_tokens=False)["input_ids"]

    @cached_property
    def _parts(self) -> tuple[list[int], list[int], list[int]]:
        """Tokens before the document, between it and the query, and after the query."""
        before, _, rest = self.prompt.partition(" {document}")
        between, _, after = rest.partition(" {query}")
        start = self._loaded.tokenizer(before, split_special_tokens=True)["input_ids"]  # with the BOS token, if any
        return start, self._ids(between), self._ids(after)

    @cached_property
    def _loaded(self) -> Loaded:
        loaded = Loaded(self.name, models.dtype())
        if loaded.is_seq2seq:
            raise SettingError(f"{self.kind}:{self.name} is an encoder-decoder; expected a causal LLM, or monot5:MODEL")
        return loaded

    @property
    def _reader(self) -> LikelihoodDecoder:
        return cast(LikelihoodDecoder, self._loaded.decoder)
