"""Results with one row per run: a sequence that prints as text and converts to a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from acclimate.base.errors import MissingExtra

if TYPE_CHECKING:
    from pandas import DataFrame

Row = TypeVar("Row")


class Rows(Sequence[Row]):
    """A sequence of rows; `warnings` concern the files they come from."""

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


def data_frame(rows: Sequence[Any]) -> DataFrame:
    """A pandas data frame of rows (mappings or named tuples). Raises MissingExtra without pandas."""
    try:
        import pandas
    except ImportError:
        raise MissingExtra("A data frame", "pip install pandas") from None
    return pandas.DataFrame(rows)
