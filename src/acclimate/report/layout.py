"""Plain text for a terminal or a log: at most 100 columns, readable without color."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from acclimate.base.text import columns

WIDTH = 100


def cut(line: str) -> str:
    """A line, truncated to the width."""
    return line if len(line) <= WIDTH else line[: WIDTH - 1].rstrip() + "…"


def wrap(text: str) -> str:
    """A paragraph, wrapped to the width."""
    return textwrap.fill(text, WIDTH)


def table(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Rows as lines of aligned columns, truncated to the width; `align` has `<` or `>` per column."""
    return list(map(cut, columns(rows, align)))
