"""A list of records kept in an anonymous temporary file; memory holds 8 bytes per record."""

from __future__ import annotations

import os
import pickle
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar, overload

from acclimate.base.disk import writing

T = TypeVar("T")


class Spilled(Sequence[T], Generic[T]):
    """A list whose items are pickled to a temporary file and read on access.

    Unpickling is safe here: the file has no name, so only this process can write it.
    """

    def __init__(self, folder: Path) -> None:
        """folder: where the file is made; it is deleted with this object, or with the process."""
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed in the next line)
        weakref.finalize(self, self._file.raw.close)
        self._ends = array("q", [0])

    def append(self, record: T) -> None:
        with writing(self._folder):
            self._file.write(pickle.dumps(record, pickle.HIGHEST_PROTOCOL))
            self._ends.append(self._file.tell())

    def extend(self, records: Iterable[T]) -> None:
        for record in records:
            self.append(record)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        place = range(len(self))[place]  # resolves negative indices
        with writing(self._folder):
            self._file.flush()
        start = self._ends[place]
        return pickle.loads(os.pread(self._file.fileno(), self._ends[place + 1] - start, start))

    def __iter__(self) -> Iterator[T]:
        return map(self.__getitem__, range(len(self)))


Kept = list[T] | Spilled[T]


def collect(records: Iterable[T], folder: Path | None) -> Kept[T]:
    """The records as a list: in a temporary file in `folder`, or in memory if it is None."""
    if folder is None:
        return list(records)
    spilled = Spilled[T](folder)
    spilled.extend(records)
    return spilled
