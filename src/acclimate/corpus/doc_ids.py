"""The ids of a corpus, read from its file on access and looked up by a hash.

The first lookup loads 16 bytes for each id: the sorted hashes of all ids, and their rows.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from acclimate.base.digests import text_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class DocIds(Sequence[str]):
    """All ids of a corpus in order; `rows` is their inverse."""

    def __init__(self, columns: Sequence[Any], hashes: Sequence[Any]) -> None:
        """columns, hashes: Arrow arrays of the ids and of what `hash_of` gives for each, batch by batch."""
        self._columns, self._hashes = columns, hashes
        self.starts = [0]  # first row of each batch, and the end of the last one
        for column in columns:
            self.starts.append(self.starts[-1] + len(column))

    def __len__(self) -> int:
        return self.starts[-1]

    def __iter__(self) -> Iterator[str]:
        for column in self._columns:
            yield from column.to_pylist()

    @overload
    def __getitem__(self, row: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: SupportsIndex | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        row = range(len(self))[row]  # resolves negative indices
        batch = self.batch_of(row)
        return self._columns[batch][row - self.starts[batch]].as_py()

    def __contains__(self, doc_id: object) -> bool:
        return self.row(doc_id) is not None

    def batch_of(self, row: int) -> int:
        """The batch that contains a row."""
        return bisect_right(self.starts, row) - 1

    def row(self, doc_id: object) -> int | None:
        """The row of an id; None if there is no such id."""
        if not isinstance(doc_id, str):
            return None
        hashes, rows = self._index
        hashed = hash_of(doc_id)
        position = int(hashes.searchsorted(hashes.dtype.type(hashed)))
        while position < len(hashes) and hashes[position] == hashed:
            if self[int(rows[position])] == doc_id:
                return int(rows[position])
            position += 1
        return None

    @property
    def rows(self) -> Mapping[str, int]:
        """Id -> row."""
        return _Rows(self)

    @cached_property
    def ascending(self) -> NDArray[np.uint64]:
        """The rows sorted by id."""
        import numpy as np
        import pyarrow as pa
        from pyarrow import compute

        ids = pa.chunked_array(list(self._columns), pa.string())
        rows = compute.call_function("sort_indices", [ids], compute.SortOptions())  # bytewise, as texts compare
        return np.frombuffer(rows.buffers()[1], np.uint64, len(rows))

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the ids in order, equal to that of a list of them."""
        hashed, before = hashlib.sha256(b"[["), ""
        for column in self._columns:
            listed = json.dumps(column.to_pylist(), ensure_ascii=False, separators=(",", ":"))
            hashed.update(f"{before}{listed[1:-1]}".encode())
            before = ","
        hashed.update(b"]]")
        return hashed.hexdigest()[:32]

    def of_equal_hashes(self) -> list[int]:
        """Rows of ids with colliding hashes, ascending."""
        import numpy as np

        hashes, rows = self._index
        return np.sort(rows[np.isin(hashes, hashes[1:][hashes[1:] == hashes[:-1]])]).tolist()

    @cached_property
    def _index(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """(sorted hashes of the ids, row of each)."""
        import numpy as np

        # frombuffer, because to_numpy would import pandas
        hashes = [np.frombuffer(part.buffers()[1], dtype="<u8", count=len(part)) for part in self._hashes]
        joined = np.concatenate(hashes)
        rows = np.argsort(joined, kind="stable")
        return joined[rows], rows


class _Rows(Mapping[str, int]):
    def __init__(self, ids: DocIds) -> None:
        self._ids = ids

    def __getitem__(self, doc_id: str) -> int:
        row = self._ids.row(doc_id)
        if row is None:
            raise KeyError(doc_id)
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def hash_of(doc_id: str) -> int:
    """64 bits."""
    return int.from_bytes(text_digest(doc_id, 8), "little")


def ascending(doc_ids: Sequence[str]) -> NDArray[np.integer]:
    """Positions of these ids, sorted by id."""
    import numpy as np

    if isinstance(doc_ids, DocIds):
        return doc_ids.ascending
    return np.array(sorted(range(len(doc_ids)), key=doc_ids.__getitem__), np.int64)
