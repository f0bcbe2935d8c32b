"""The index's token vectors for training: all on the GPU if they fit, else those of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from acclimate.base import models
from acclimate.base.gpu import free_bytes, on_device, pinned
from acclimate.search.device_vectors import in_eight_bits

if TYPE_CHECKING:
    from acclimate.search.vectors import Vectors

_SHARE = 0.25  # share of free GPU memory that they may take


class ReadTokens(NamedTuple):
    """Token vectors of some documents, concatenated, as stored in the index."""

    lengths: list[int]  # tokens per document
    tokens: torch.Tensor  # (sum of lengths, token_dim) integers; or (sum of lengths,) positions if they are on the GPU
    scales: torch.Tensor | None  # (sum of lengths,) scales


class TokenVectors:
    """Token vectors of documents by row."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self.resident: tuple[torch.Tensor, torch.Tensor] | None = None
        if vectors.tokens.size + vectors.scales.nbytes < _SHARE * free_bytes():
            scales = torch.from_numpy(np.asarray(vectors.scales)).to(models.device())
            self.resident = in_eight_bits(vectors.tokens, models.device()), scales

    def read(self, rows: Sequence[int]) -> ReadTokens:
        """What has to be copied to the device for these documents: vectors, or positions."""
        offsets = self.vectors.offsets
        spans = [slice(int(offsets[row]), int(offsets[row + 1])) for row in rows]
        lengths = [span.stop - span.start for span in spans]
        if self.resident is not None:
            places = np.concatenate([np.arange(span.start, span.stop) for span in spans])
            return ReadTokens(lengths, pinned(torch.from_numpy(places)), None)
        tokens, scales = (
            pinned(torch.from_numpy(np.concatenate([part[span] for span in spans])))
            for part in (self.vectors.tokens, self.vectors.scales)
        )
        return ReadTokens(lengths, tokens, scales)

    def vectors_of(self, read: ReadTokens) -> torch.Tensor:
        """(sum of lengths, token_dim) vectors on the device."""
        if self.resident is not None:
            places = on_device(read.tokens)
            tokens, scales = (part[places] for part in self.resident)
        else:
            assert read.scales is not None
            tokens, scales = on_device(read.tokens), on_device(read.scales)
        return tokens.float().mul_(scales[:, None])


def document_of_token(lengths: Sequence[int]) -> torch.Tensor:
    """(sum of lengths,) the document of each token, on the device."""
    return on_device(torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)))
