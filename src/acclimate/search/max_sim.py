"""Late interaction on a CPU, such that what is compared together moves no score.

Documents have their token vectors in eight bits. Processors that add up products of bytes multiply those several times
as fast as floats: there a query's are brought to fifteen bits, in two parts of eight, and whole numbers have the same
sum in any order and company. On others each document has a product of its own.
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

_TOKENS_AT_ONCE = 1 << 16  # brought together, and those of one document more
_MOST, _BASE = 127, 128  # of eight bits; what a unit of the higher part counts
_ROWS = 1024  # token vectors of a product: they stay in the cache, and oneDNN keeps megabytes for each shape
_COLUMNS = 16  # the parts of a query are filled up to a multiple


def max_sim(
    gather: Gather, offsets: NDArray[np.int64], query: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(n_rows,) the mean over the query's tokens of each one's best inner product.

    gather: the token vectors of some spans one after the other, and their scales; offsets: where a document's begin;
    query: (n_query_tokens, dim).
    """
    is_column = query.shape[1] == 1  # of one number oneDNN mistakes rows and columns
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
    """What compares documents' tokens with the query's: (n_tokens, n_query_tokens) inner products."""
    wanted = np.ascontiguousarray(query.T)

    def compare(tokens: NDArray[np.int8], starts: Sequence[int]) -> NDArray[np.float32]:
        similarity = np.empty((len(tokens), len(query)), np.float32)
        for start, end in pairwise([*starts, len(tokens)]):
            np.matmul(tokens[start:end].astype(np.float32), wanted, out=similarity[start:end])
        return similarity

    return compare


def _in_bytes(query: NDArray[np.float32]) -> Compare:
    """The same, of a query whose numbers are at most 2^-15 of its token's largest away from what they were."""
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
    """Whether the processor adds up products of bytes in 32 bits. Instructions before VNNI add pairs in 16, which are
    too few: so it is tried."""
    if not (torch.backends.mkldnn.is_available() and torch.cpu._is_vnni_supported()):
        return False
    most = torch.full((64, 64), _MOST, dtype=torch.int8)
    return bool((torch.ops.aten._int_mm(most, -most) == -64 * _MOST**2).all())
