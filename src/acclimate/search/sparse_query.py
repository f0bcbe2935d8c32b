"""Queries of learned sparse retrieval: the distinct tokens of a text with learned weights, without a transformer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from acclimate.base.digests import fingerprint
from acclimate.search.bert_files import UNKNOWN, read, tensors_of, tokenizer_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_QUERY_TOKENS = 8192


@dataclass(frozen=True)
class SparseQuery:
    """The query side of a sparse student."""

    tokenizer: Any
    weights: NDArray[np.float32]  # (n_vocabulary,), at least 0

    @classmethod
    def open(cls, folder: Path) -> SparseQuery:
        """The query side of a student saved by `distill`, from its files; importing its library takes seconds."""
        side = folder / "query_0_SparseStaticEmbedding"
        weights = tensors_of(side)["weight"].numpy()
        try:
            words = read(side / "tokenizer_config.json")
            tokenizer, _ = tokenizer_of(side, words)
            tokenizer.enable_truncation(min(words["model_max_length"], _MOST_QUERY_TOKENS))
        except UNKNOWN:
            from transformers import AutoTokenizer

            return cls(AutoTokenizer.from_pretrained(str(side)), weights)
        return cls(tokenizer, weights)

    @property
    def fingerprint(self) -> str:
        return fingerprint("sparse-query", hashlib.sha256(np.ascontiguousarray(self.weights).tobytes()).hexdigest())

    @property
    def vocabulary(self) -> list[str]:
        """The token of each weight; "" for numbers that the tokenizer leaves out."""
        tokens = [""] * len(self.weights)
        for token, number in self.tokenizer.get_vocab().items():
            tokens[number] = token
        return tokens

    def __call__(self, text: str) -> tuple[list[int], NDArray[np.float32]]:
        """(tokens, ascending; their weights), without tokens of weight 0."""
        tokens = [token for token in query_tokens(self.tokenizer, text) if self.weights[token] > 0]
        return tokens, self.weights[tokens]


def query_tokens(tokenizer: Any, text: str) -> list[int]:
    """The distinct tokens of a query, ascending, without a prompt.

    tokenizer: of transformers, or a plain one, of the library tokenizers, which truncates.
    """
    if isinstance(tokenizer, Tokenizer):
        return sorted(set(tokenizer.encode(text, add_special_tokens=False).ids))
    limit = min(tokenizer.model_max_length, _MOST_QUERY_TOKENS)  # tokenizers without a limit say 1e30
    return sorted(set(tokenizer(text, add_special_tokens=False, truncation=True, max_length=limit)["input_ids"]))
