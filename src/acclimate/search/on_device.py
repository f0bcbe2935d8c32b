"""The vectors of a corpus on a GPU, and products with them whose shapes follow from the corpus alone.

A query has a product of its own with all pooled vectors, a document one with the tokens of a query; tokens that do not
count fill up both. So what is compared together does not move the rounding of a score. Products are in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from acclimate.base import models

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUERY_TOKENS = 32  # those of a query are filled up to a multiple of it
_DOCS_UNPACKED, _NUMBERS = 256, 1 << 25  # documents, and numbers of token vectors, at once
_SHARE = 1 / 4  # of a GPU's memory, at most, that vectors of one encoder stay in
_ROOM = 1 << 32  # bytes at most on devices that do not tell


def has_room(n_bytes: int) -> bool:
    """Whether vectors of that size are compared on the device: whatever else is on it, so always or never."""
    if models.device() == "cpu":
        return False
    if models.device() == "cuda":
        return n_bytes <= _SHARE * torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return n_bytes <= _ROOM


class OnDevice:
    """Pooled and token vectors, as `Vectors` has them, on one device."""

    def __init__(
        self,
        pooled: NDArray[np.float32],
        tokens: NDArray[np.int8],
        scales: NDArray[np.float32],
        offsets: NDArray[np.int64],
        device: str,
    ) -> None:
        self._pooled, self._tokens, self._scales = (
            torch.from_numpy(np.asarray(part)).to(device) for part in (pooled, tokens, scales)
        )
        self._offsets, self._lengths = offsets, np.diff(offsets)
        self._device = device

    def dense_scores(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n_queries, n_docs) inner products."""
        wanted = torch.from_numpy(np.ascontiguousarray(queries)).to(self._device)
        return torch.stack([self._pooled @ query for query in wanted]).cpu().numpy()

    def max_sim(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n_rows,) the mean over the query's tokens of each one's best inner product."""
        scores = np.empty(len(rows), dtype=np.float32)
        filled = torch.zeros(-(-len(query) // _QUERY_TOKENS) * _QUERY_TOKENS, query.shape[1])
        filled[: len(query)] = torch.from_numpy(query)
        longest, dim = int(self._lengths.max(initial=1)), query.shape[1]
        n_docs = max(1, min(_DOCS_UNPACKED, _NUMBERS // (longest * dim)))
        wanted = filled.T.to(self._device).expand(n_docs, -1, -1)
        for start in range(0, len(rows), n_docs):  # the last ones filled up by those before
            some = np.resize(rows[start : start + n_docs], n_docs)
            is_token = np.arange(longest) < self._lengths[some][:, None]
            places = np.where(is_token, self._offsets[some][:, None] + np.arange(longest), 0)
            token_rows = torch.from_numpy(places.ravel()).to(self._device)
            tokens = self._tokens[token_rows].float() * self._scales[token_rows][:, None]
            similarity = torch.bmm(tokens.view(n_docs, longest, dim), wanted)
            outside = torch.from_numpy(~is_token).to(self._device)[..., None]
            best = similarity.masked_fill(outside, -torch.inf).amax(dim=1)[:, : len(query)]
            block = best.mean(dim=1).cpu().numpy()
            scores[start : start + n_docs] = block[: len(rows) - start]
        return scores
