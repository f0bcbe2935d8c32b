"""Arrays of integers from -7 to 7 packed two per byte, which read as int8: token vectors at half the size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 7
_ZERO = 8  # stored value of 0


class FourBits:
    """(n, dim) integers over an array of (n, dim / 2) bytes, which may be memory-mapped.

    The first half of a row is in the lower bits.
    """

    def __init__(self, packed: NDArray[np.uint8]) -> None:
        self.packed = packed

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.packed), 2 * self.packed.shape[1]

    @property
    def size(self) -> int:
        """Number of integers: the size in bytes of an eight-bit copy."""
        return 2 * self.packed.size

    @property
    def nbytes(self) -> int:
        """Size as stored."""
        return self.packed.nbytes

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.int8]:
        packed = self.packed[rows]
        return np.concatenate([packed & 15, packed >> 4], axis=1).view(np.int8) - np.int8(_ZERO)

    def __setitem__(self, rows: slice | NDArray[np.int64], numbers: NDArray[np.int8]) -> None:
        low, high = np.split((numbers + np.int8(_ZERO)).astype(np.uint8), 2, axis=1)
        self.packed[rows] = low | high << 4
