"""Static query encoders: the mean of one vector per token, without a transformer at query time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from acclimate.base.digests import fingerprint
from acclimate.search.encoded import Encoded

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class StaticQuery:
    """Encodes texts as the normalized mean of their tokens' vectors.

    A text without known tokens is the zero vector, which finds nothing.
    """

    tokenizer: Tokenizer
    table: NDArray[np.float32]  # (n_vocabulary, dim)

    @classmethod
    def open(cls, folder: Path) -> StaticQuery:
        """The query side of a student saved by `distill`, from its files; importing its library takes seconds."""
        side = folder / "query_0_StaticEmbedding"
        return cls(
            Tokenizer.from_file(str(side / "tokenizer.json")), load_file(side / "model.safetensors")["embedding.weight"]
        )

    @property
    def fingerprint(self) -> str:
        return fingerprint("static-query", hashlib.sha256(np.ascontiguousarray(self.table).tobytes()).hexdigest())

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """One vector per text; no token vectors."""
        none = np.empty((0, self.table.shape[1]), np.float32)
        encoded: list[Encoded] = []
        for ids in token_ids(self.tokenizer, texts):
            mean = self.table[ids].mean(axis=0) if ids else np.zeros(self.table.shape[1], np.float32)
            encoded.append(Encoded(mean / max(float(np.linalg.norm(mean)), 1e-12), none))
        return encoded


def token_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Each text's tokens, without special ones."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
