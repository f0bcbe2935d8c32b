"""Plain text for a terminal or a log: at most 100 columns, readable without color."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from acclimate.base.text import columns

WIDTH = 100


def cut(line: str) -> str:
    """A line, truncated to the width."""
    return line if len(line) <= WIDTH else line[: WIDTH - 1].rstrip() + "…"


def cut_middle(name: str, longest: int) -> str:
    """A name, shortened in the middle: the end says whether a system is adapted, and of a path which file it is."""
    if len(name) <= longest:
        return name
    end = longest // 2
    return f"{name[: longest - end - 2]}..{name[-end:]}"


def wrap(text: str) -> str:
    """A paragraph, wrapped to the width. Lines break at blanks alone: names and options with hyphens stay whole."""
    return textwrap.fill(text, WIDTH, break_on_hyphens=False)


def table(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Rows as lines of aligned columns, truncated to the width; `align` has `<` or `>` per column."""
    return list(map(cut, columns(rows, align)))
