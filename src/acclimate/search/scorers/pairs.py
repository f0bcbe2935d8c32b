"""Score pairs fast with any reader: batches of similar length under a token budget."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, tee
from typing import NamedTuple, Protocol

import torch

from acclimate.base import distributed, models
from acclimate.base.cores import parallel_map
from acclimate.base.memory import Halving, batches, tokens_at_once
from acclimate.base.prefetch import prefetch
from acclimate.records import Doc
from acclimate.search.scorers.lists import Pair

_TOKENS_AT_ONCE_ON_CPU = 512  # enough for a core; larger batches would need more padding
_PAIRS_TOKENIZED_AT_ONCE = 1024  # tokenized by a thread while earlier ones are scored


class Lengths(NamedTuple):
    """The most tokens that a reader takes."""

    pair: int  # of query and document together, prompt and special tokens included
    document: int = 0  # of the document; 0: what the query leaves

    def within(self, context: int) -> Lengths:
        """The same for a model that reads no more than `context` tokens."""
        return self._replace(pair=min(self.pair, context))


class Reader(Protocol):
    """A model that reads query and document together."""

    def tokens(self, texts: Sequence[tuple[str, str]], /) -> Mapping[str, Sequence[Sequence[int]]]:
        """Tokenize (query, document) texts; `input_ids` at least."""
        ...

    def logits(self, rows: Mapping[str, Sequence[Sequence[int]]], /) -> torch.Tensor:
        """(n,) float32 scores of the rows; higher is more relevant."""
        ...


class PairScorer(ABC):
    """A scorer over the documents of a corpus, by a reader."""

    corpus: Mapping[str, Doc]

    @abstractmethod
    def reader(self) -> Reader:
        """The reader, loaded on first use."""

    @property
    @abstractmethod
    def maker(self) -> Callable[[], PairScorer]:
        """Makes the same scorer in another process, without documents; pickled."""

    def score(self, pairs: Sequence[Pair]) -> list[float]:
        """The reader's score of each (query, doc_id), in order."""
        if distributed.is_shared():
            (scores,) = self.score_calls([pairs])
            return scores
        return rate(self.reader(), self._texts(pairs))

    def score_calls(self, calls: Iterable[Sequence[Pair]]) -> Iterator[list[float]]:
        """Scores of each call, in order; other processes share the pairs of this and later calls."""
        split, ahead = tee(map(self._parts, calls))
        rated = distributed.shared(self, self.maker, _rated, chain.from_iterable(ahead))
        for parts in split:
            yield [score for _ in parts for score in next(rated)]

    def _parts(self, pairs: Sequence[Pair]) -> list[list[tuple[str, str]]]:
        """The texts of a call, as `rate` reads them."""
        texts = self._texts(pairs)
        starts = range(0, len(texts), _PAIRS_TOKENIZED_AT_ONCE)
        return [texts[start : start + _PAIRS_TOKENIZED_AT_ONCE] for start in starts]

    def _texts(self, pairs: Sequence[Pair]) -> list[tuple[str, str]]:
        return [(query.text, self.corpus[doc_id].default_text()) for query, doc_id in pairs]


def _rated(scorer: PairScorer, texts: Sequence[tuple[str, str]]) -> list[float]:
    return rate(scorer.reader(), texts)


def rate(reader: Reader, texts: Sequence[tuple[str, str]]) -> list[float]:
    """One score per (query, document), in order."""
    scores = [0.0] * len(texts)
    halving = Halving()
    most = _TOKENS_AT_ONCE_ON_CPU if models.device() == "cpu" else tokens_at_once()
    starts = range(0, len(texts), _PAIRS_TOKENIZED_AT_ONCE)
    with ThreadPoolExecutor(max_workers=1) as thread:
        read = prefetch(thread, lambda start: reader.tokens(texts[start : start + _PAIRS_TOKENIZED_AT_ONCE]), starts)
        for start, tokens in zip(starts, read, strict=True):
            for rows, logits in _logits(reader, tokens, most, halving):
                for row, logit in zip(rows, logits, strict=True):
                    scores[start + row] = logit
    return scores


def _logits(
    reader: Reader, tokens: Mapping[str, Sequence[Sequence[int]]], most: int, halving: Halving
) -> Iterator[tuple[list[int], list[float]]]:
    """Batches of tokenized pairs: their positions, and their logits."""
    lengths = [len(ids) for ids in tokens["input_ids"]]

    @torch.inference_mode()
    def logits(rows: Sequence[int]) -> list[float]:
        return reader.logits({name: [values[row] for row in rows] for name, values in tokens.items()}).tolist()

    def read(rows: list[int]) -> tuple[list[int], list[float]]:
        what = f"a query and a document of {lengths[rows[0]]} tokens"
        return rows, halving(logits, rows, lengths=[lengths[row] for row in rows], what=what)

    yield from parallel_map(read, batches(lengths, max_tokens=most))
