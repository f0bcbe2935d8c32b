"""Results with a row for each run, which are a sequence and print as a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, overload

Row = TypeVar("Row")


class Rows(Sequence[Row]):
    """Rows; `warnings` are what a reader should know of the files that they are of."""

    def __init__(self, rows: Sequence[Row], warnings: Sequence[str]) -> None:
        self.rows = tuple(rows)
        self.warnings = tuple(warnings)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Row, ...]: ...

    def __getitem__(self, place: int | slice) -> Row | tuple[Row, ...]:
        return self.rows[place]

    def __repr__(self) -> str:
        return str(self)
