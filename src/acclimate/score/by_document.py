"""An LLM that rates (query, doc) pairs reads each document once, whatever the number of queries that it is rated for.

A prompt is three parts: what comes before the document, what stands between it and the query, and what follows the
query. The keys and values up to the query are computed once per document. The document is cut, never prompt or query.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, cast

from acclimate import models
from acclimate.errors import SettingError
from acclimate.files import fingerprint
from acclimate.llm.loaded import Loaded, Reader
from acclimate.records import Doc, Query

MAX_DOC_TOKENS = 256
QUERIES_AT_ONCE = 32  # behind one document


class ByDocument(ABC):
    """A scorer that asks an LLM of transformers, loaded when first asked, about a document and each of its queries."""

    kind: ClassVar[str]
    prompt: ClassVar[str]  # with {document} and, somewhere behind it, {query}

    def __init__(self, name: str, corpus: Mapping[str, Doc], *, max_doc_tokens: int = MAX_DOC_TOKENS) -> None:
        self.name = name
        self.corpus = corpus
        self.max_doc_tokens = max_doc_tokens

    @property
    def fingerprint(self) -> str:
        """Of weights, prompt, precision and length."""
        weights = models.weights_fingerprint(self.name)
        return fingerprint(self.kind, weights, self.prompt, models.dtype_name(), self.max_doc_tokens)

    def score(
        self,
        pairs: Sequence[tuple[Query, str]],
        *,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[float]:
        """One float per (query, doc_id), in order. Raises SettingError where there is no room for a query."""
        places: dict[str, list[int]] = {}
        for place, (_, doc_id) in enumerate(pairs):
            places.setdefault(doc_id, []).append(place)
        scores = [0.0] * len(pairs)
        done = 0
        for doc_id, own in places.items():
            read = self._document(doc_id)
            # The last token before the query is read with it: how likely the first one of a query is counts, too.
            rows = {place: [read[-1], *self._query(pairs[place][0].text)] for place in own}
            own.sort(key=lambda place: len(rows[place]))
            if len(read) + len(rows[own[-1]]) > self._loaded.context:
                raise SettingError(
                    f"{self.kind}:{self.name} reads {self._loaded.context} tokens; found {len(read)} with document "
                    f"{doc_id} and {len(rows[own[-1]])} of query {pairs[own[-1]][0].query_id}"
                )
            prefix = self._reader.prefix(read[:-1])
            for start in range(0, len(own), QUERIES_AT_ONCE):
                batch = own[start : start + QUERIES_AT_ONCE]
                for place, value in zip(batch, self._rate(prefix, [rows[place] for place in batch]), strict=True):
                    scores[place] = value
            done += len(own)
            progress(done, len(pairs))
        return scores

    @abstractmethod
    def _rate(self, prefix: Any, rows: Sequence[Sequence[int]]) -> Sequence[float]:
        """A score for each of the rows that may follow the prefix."""

    def _document(self, doc_id: str) -> list[int]:
        """The tokens up to the query."""
        text = self._loaded.cut(self.corpus[doc_id].default_text().strip(), self.max_doc_tokens)
        before, between, _ = self._parts
        return [*before, *self._ids(f" {text}"), *between]

    def _query(self, text: str) -> list[int]:
        """The tokens of the query and behind it."""
        return [*self._ids(f" {text.strip()}"), *self._parts[2]]

    def _ids(self, text: str) -> list[int]:
        """Tokens without special ones, whatever the text says."""
        return self._loaded.tokenizer(text, split_special_tokens=True, add_special_tokens=False)["input_ids"]

    @cached_property
    def _parts(self) -> tuple[list[int], list[int], list[int]]:
        """Tokens before the document, between it and the query, behind the query."""
        before, _, rest = self.prompt.partition(" {document}")
        between, _, behind = rest.partition(" {query}")
        start = self._loaded.tokenizer(before, split_special_tokens=True)[
            "input_ids"
        ]  # with a first token, if it has one
        return start, self._ids(between), self._ids(behind)

    @cached_property
    def _loaded(self) -> Loaded:
        loaded = Loaded(self.name, models.dtype())
        if loaded.is_seq2seq:
            raise SettingError(f"{self.kind}:{self.name} is an encoder-decoder; expected a causal LLM, or monot5:MODEL")
        return loaded

    @property
    def _reader(self) -> Reader:
        return cast(Reader, self._loaded.decoder)
