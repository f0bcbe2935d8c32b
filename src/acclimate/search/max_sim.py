"""MaxSim on a CPU, batch-invariant: a document's score does not depend on which others are compared.

Documents have token vectors of eight bits. CPUs with byte dot products multiply these several times as fast as floats:
there the query is quantized to fifteen bits, in two parts of eight, and integer sums are exact in any order. Other CPUs
compute one product per document.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from acclimate.base.cores import single_core

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Gather = Callable[[Sequence[slice]], tuple[NDArray[np.int8], NDArray[np.float32]]]
    Compare = Callable[[NDArray[np.int8], Sequence[int]], NDArray[np.float32]]

_TOKENS_AT_ONCE = 1 << 16  # gathered at once, or those of a single document
_MOST, _BASE = 127, 128  # of eight bits; value of one unit of the higher part
_ROWS = 1024  # token vectors per product: they stay in the cache, and oneDNN keeps megabytes per shape
_COLUMNS = 16  # query parts are padded to a multiple of this


def max_sim(
    gather: Gather, offsets: NDArray[np.int64], query: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(n_rows,) mean over the query's tokens of the best inner product with a document's tokens.

    gather: returns token vectors of spans, concatenated, and their scales; offsets: start of each document's; query:
    (n_query_tokens, dim).
    """
    is_column = query.shape[1] == 1  # oneDNN confuses rows and columns of dimension 1
    compare = _in_bytes(query) if _multiplies_bytes() and not is_column else _in_floats(query)
    firsts, lasts = offsets[rows], offsets[rows + 1]
    filled = np.cumsum(lasts - firsts) // _TOKENS_AT_ONCE
    scores = np.empty(len(rows), dtype=np.float32)
    with single_core():
        for start, end in pairwise([*np.flatnonzero(np.diff(filled, prepend=-1)), len(rows)]):
            spans = [slice(first, last) for first, last in zip(firsts[start:end], lasts[start:end], strict=True)]
            tokens, scales = gather(spans)
            starts = [0, *accumulate(span.stop - span.start for span in spans[:-1])]
            similarity = compare(tokens, starts)
            similarity *= scales[:, None]
            scores[start:end] = np.maximum.reduceat(similarity, starts, axis=0).mean(axis=1)
    return scores


def _in_floats(query: NDArray[np.float32]) -> Compare:
    """A function for (n_tokens, n_query_tokens) inner products in float32."""
    wanted = np.ascontiguousarray(query.T)

    def compare(tokens: NDArray[np.int8], starts: Sequence[int]) -> NDArray[np.float32]:
        similarity = np.empty((len(tokens), len(query)), np.float32)
        for start, end in pairwise([*starts, len(tokens)]):
            np.matmul(tokens[start:end].astype(np.float32), wanted, out=similarity[start:end])
        return similarity

    return compare


def _in_bytes(query: NDArray[np.float32]) -> Compare:
    """The same in bytes; quantization changes the query by at most 2^-15 of each token's largest component."""
    units = np.maximum(np.abs(query).max(axis=1), np.float32(1e-12)) / np.float32(_MOST * _BASE)
    numbers = np.rint(query / units[:, None])
    higher_part = np.rint(numbers / _BASE)
    columns, n_columns = 2 * len(query), -(-2 * len(query) // _COLUMNS) * _COLUMNS
    parts = np.zeros((query.shape[1], n_columns), np.int8)
    parts[:, :columns] = np.concatenate([higher_part, numbers - _BASE * higher_part]).T
    wanted = torch.from_numpy(parts)

    def compare(tokens: NDArray[np.int8], starts: Sequence[int]) -> NDArray[np.float32]:
        similarity = np.empty((len(tokens), len(query)), np.float32)
        for start in range(0, len(tokens), _ROWS):
            of_block = similarity[start : start + _ROWS]
            block = tokens[start : start + _ROWS]
            if len(block) < _ROWS:
                block = np.concatenate([block, np.zeros((_ROWS - len(block), tokens.shape[1]), np.int8)])
            products = torch.ops.aten._int_mm(torch.from_numpy(block), wanted).numpy()[: len(of_block)]
            products = products.astype(np.float32)
            np.multiply(products[:, : len(query)], np.float32(_BASE), out=of_block)
            of_block += products[:, len(query) : columns]
        similarity *= units
        return similarity

    return compare


@cache
def _multiplies_bytes() -> bool:
    """True if the CPU accumulates byte products in 32 bits; tested, as pre-VNNI instructions overflow 16 bits."""
    if not (torch.backends.mkldnn.is_available() and torch.cpu._is_vnni_supported()):
        return False
    most = torch.full((64, 64), _MOST, dtype=torch.int8)
    return bool((torch.ops.aten._int_mm(most, -most) == -64 * _MOST**2).all())
