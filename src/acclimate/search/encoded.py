"""Inputs and outputs of an encoder: tokens and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

from acclimate.base.digests import fingerprint

if TYPE_CHECKING:
    from numpy.typing import NDArray

Task = Literal["query", "document"]
AUTO = "auto"  # use the model's own prompt


class Encoded(NamedTuple):
    """One text as vectors of unit length."""

    pooled: NDArray[np.float32]  # (dim,)
    tokens: NDArray[np.float32]  # (n_tokens, token_dim), without tokens that are not scored


class Tokens(NamedTuple):
    """One text as tokens, truncated to the encoder's limit."""

    ids: Sequence[int]  # with special tokens, prompt, and tokens the model adds to queries
    keep: Sequence[bool]  # tokens that late interaction compares; at least one
    attend: Sequence[bool]  # attention mask


class QueryEncoder(Protocol):
    """Encodes queries."""

    @property
    def fingerprint(self) -> str: ...

    def encode(self, texts: Sequence[str]) -> list[Encoded]: ...


@dataclass(frozen=True)
class Cut:
    """An encoder whose pooled vectors are truncated to their first `dim` components and normalized."""

    encoder: QueryEncoder
    dim: int

    @property
    def fingerprint(self) -> str:
        return fingerprint("cut", self.encoder.fingerprint, self.dim)

    @property
    def is_batch_invariant(self) -> bool:
        """True if the encoder is batch-invariant."""
        return getattr(self.encoder, "is_batch_invariant", False)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Vectors of each text, in order."""
        return [encoded._replace(pooled=cut(encoded.pooled, self.dim)) for encoded in self.encoder.encode(texts)]


def cut(vectors: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """(..., dim) first components of the vectors, normalized."""
    vectors = vectors[..., :dim]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
