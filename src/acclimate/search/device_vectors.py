"""Vectors of a corpus on a GPU, with products whose shapes depend on the corpus alone.

Each query has its own product with all pooled vectors, each document with a query's tokens, both padded to fixed
shapes, so scores are batch-invariant. Products are in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from acclimate.base import models
from acclimate.base.gpu import pinned
from acclimate.search.four_bits import FourBits

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUERY_TOKENS = 32  # a query's tokens are padded to a multiple of this
_DOCS_UNPACKED, _NUMBERS = 256, 1 << 25  # documents, and components of token vectors, at once
_SHARE = 1 / 4  # maximum share of GPU memory for the vectors of one encoder
_ROOM = 1 << 32  # limit in bytes if a device does not report its memory
_TOKENS_UNPACKED = 1 << 18  # token vectors of four bits unpacked at once in main memory


def has_room(n_bytes: int) -> bool:
    """True if vectors of this size go to the device, whatever else is there, so that it is always or never."""
    if models.device() == "cpu":
        return False
    if models.device() == "cuda":
        return n_bytes <= _SHARE * torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return n_bytes <= _ROOM


def in_eight_bits(tokens: NDArray[np.int8] | FourBits, device: str) -> torch.Tensor:
    """(n_tokens, token_dim) token vectors on the device, copied once: pinned memory would stay allocated."""
    if not isinstance(tokens, FourBits):
        return torch.from_numpy(np.asarray(tokens)).to(device)
    whole = torch.empty(tokens.shape, dtype=torch.int8, device=device)
    for start in range(0, len(tokens), _TOKENS_UNPACKED):
        whole[start : start + _TOKENS_UNPACKED] = torch.from_numpy(tokens[start : start + _TOKENS_UNPACKED])
    return whole


class DeviceVectors:
    """Pooled and token vectors of `Vectors`, on one device."""

    def __init__(
        self,
        pooled: NDArray[np.float32],
        tokens: NDArray[np.int8] | FourBits,
        scales: NDArray[np.float32],
        offsets: NDArray[np.int64],
        device: str,
    ) -> None:
        self._pooled, self._scales = (torch.from_numpy(np.asarray(part)).to(device) for part in (pooled, scales))
        self._tokens = in_eight_bits(tokens, device)
        lengths = np.diff(offsets)
        self._firsts, self._lengths = (torch.from_numpy(part.copy()).to(device) for part in (offsets[:-1], lengths))
        self._longest = int(lengths.max(initial=1))
        self._device = device

    def dense_scores(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n_queries, n_docs) inner products."""
        wanted = torch.from_numpy(np.ascontiguousarray(queries)).to(self._device)
        return torch.stack([self._pooled @ query for query in wanted]).cpu().numpy()

    def max_sim(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> torch.Tensor:
        """(n_rows,) MaxSim averaged over the query's tokens; on the device, without waiting for it."""
        if not len(rows):
            return self._scales[:0]
        dim, longest = query.shape[1], self._longest
        n_docs = max(1, min(_DOCS_UNPACKED, _NUMBERS // (longest * dim)))
        filled = torch.zeros(-(-len(query) // _QUERY_TOKENS) * _QUERY_TOKENS, dim)
        filled[: len(query)] = torch.from_numpy(query)
        wanted = self._there(filled).T.expand(n_docs, -1, -1)
        columns = torch.arange(longest, device=self._device)
        scores: list[torch.Tensor] = []
        # Pad the last ones with the first.
        for some in self._there(torch.from_numpy(np.resize(rows, -(-len(rows) // n_docs) * n_docs))).split(n_docs):
            is_token = columns < self._lengths[some, None]
            places = torch.where(is_token, self._firsts[some, None] + columns, 0).flatten()
            tokens = self._tokens[places].float() * self._scales[places, None]
            similarity = torch.bmm(tokens.view(n_docs, longest, dim), wanted)
            best = similarity.masked_fill(~is_token[..., None], -torch.inf).amax(dim=1)[:, : len(query)]
            scores.append(best.mean(dim=1))
        return torch.cat(scores)[: len(rows)]

    def _there(self, tensor: torch.Tensor) -> torch.Tensor:
        return pinned(tensor).to(self._device, non_blocking=models.device() == "cuda")
