"""What an encoder reads of a text, and what it makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

from acclimate.base.digests import fingerprint

if TYPE_CHECKING:
    from numpy.typing import NDArray

Task = Literal["query", "document"]
AUTO = "auto"  # the prompt that the model brings


class Encoded(NamedTuple):
    """One text as vectors of unit length."""

    pooled: NDArray[np.float32]  # (dim,)
    tokens: NDArray[np.float32]  # (n_tokens, token_dim), those that are kept


class Tokens(NamedTuple):
    """One text as an encoder reads it, cut to what it reads at most."""

    ids: Sequence[int]  # with special tokens, prompt, and what a model adds to a query
    keep: Sequence[bool]  # whose vectors late interaction compares; one at least
    attend: Sequence[bool]  # which of them the others look at


class QueryEncoder(Protocol):
    """What makes vectors of queries."""

    @property
    def fingerprint(self) -> str: ...

    def encode(self, texts: Sequence[str]) -> list[Encoded]: ...


@dataclass(frozen=True)
class Cut:
    """An encoder whose pooled vectors keep their first `dim` components, at unit length."""

    encoder: QueryEncoder
    dim: int

    @property
    def fingerprint(self) -> str:
        return fingerprint("cut", self.encoder.fingerprint, self.dim)

    @property
    def is_alike(self) -> bool:
        """What the encoder says of itself."""
        return getattr(self.encoder, "is_alike", False)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Vectors of each text, in the order given."""
        return [encoded._replace(pooled=cut(encoded.pooled, self.dim)) for encoded in self.encoder.encode(texts)]


def cut(vectors: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """(..., dim) the first components of vectors, at unit length."""
    vectors = vectors[..., :dim]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
