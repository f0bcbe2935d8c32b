"""What is written beside an export to search it: each file runs as it is, and is what the export is checked with."""

import sys
from collections.abc import Iterable

from acclimate.base.text import single_spaced
from acclimate.report.formatting import excerpt


def arguments(usage: str | None, least: int, most: int) -> list[str]:
    """What a script is given. Raises SystemExit, with how it is used, where that is less or more."""
    given = sys.argv[1:]
    if not least <= len(given) <= most:
        raise SystemExit(usage)
    return given


def show(hits: Iterable[tuple[str, float, str, str]]) -> None:
    """Print (id, score, title, text) of documents, whatever these hold."""
    for document, score, title, text in hits:
        print(f"{score:8.4f}  {single_spaced(document)}  {single_spaced(title)}\n          {excerpt(text, 200)}")
